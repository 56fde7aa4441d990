// Measures the candidates of a tuning bundle on the device that it was carried to (docs/tuning.md):
//   bireme_measure FILE [--isa NAME] [--threads N] [--seconds S] [--least N] [--most N]
//                  [--tolerance DTYPE=RELATIVE,ABSOLUTE]...
// FILE is an artefact without inputs that launches one kernel in several variants: instructions
// whose op is `variant N`, outputs `vN.rR` and, with what these should be, `expected.rR`. Prints
// the fields of one JSON object without its braces:
//   "cpu": ..., "isa": ..., "threads": ..., "wrong": [elements beyond the tolerance of each
//   variant], "times": [[nanoseconds of each variant] of each round]
// Exits with 1 after a message where the runtime reports an error, with 2 for wrong arguments.
#include <bireme/bireme.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <string>
#include <vector>

namespace {

constexpr int kWarmUp = 2;

// Differences that are allowed: relative to an element and to the largest one, and besides.
struct Tolerance {
  double relative = 0, absolute = 0;
};

struct Request {
  const char* path = nullptr;
  const char* isa = nullptr;
  uint32_t threads = 0;
  double seconds = 1;
  int least = 5, most = 60;
  std::vector<std::pair<std::string, Tolerance>> tolerances;
};

[[noreturn]] void fail(int status, const char* what, const char* detail) {
  fprintf(stderr, "%s: %s\n", what, detail);
  exit(status);
}

void check(int32_t code, const bireme_status& status) {
  if (code == 0) return;
  char name[16];
  snprintf(name, sizeof name, "BM%04d", static_cast<int>(code));
  fail(1, name, status.message);
}

Request parse(int argc, char** argv) {
  Request request;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name.rfind("--", 0) != 0) {
      request.path = argv[i];
      continue;
    }
    if (++i == argc) fail(2, argv[i - 1], "a value is missing");
    char* const value = argv[i];
    if (name == "--isa") {
      request.isa = value;
    } else if (name == "--threads") {
      request.threads = static_cast<uint32_t>(atoi(value));
    } else if (name == "--seconds") {
      request.seconds = atof(value);
    } else if (name == "--least") {
      request.least = atoi(value);
    } else if (name == "--most") {
      request.most = atoi(value);
    } else if (name == "--tolerance") {
      char dtype[32];
      Tolerance allowed;
      if (sscanf(value, "%31[^=]=%lf,%lf", dtype, &allowed.relative, &allowed.absolute) != 3)
        fail(2, value, "expected DTYPE=RELATIVE,ABSOLUTE");
      request.tolerances.emplace_back(dtype, allowed);
    } else {
      fail(2, name.c_str(), "no such option");
    }
  }
  if (request.path == nullptr) fail(2, "bireme_measure", "name an artefact");
  return request;
}

// Keeps this process to the first `wanted` of the cores it may use, 0 for all; gives their number.
uint32_t keep_to_cores(uint32_t wanted) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return wanted;
  cpu_set_t kept;
  CPU_ZERO(&kept);
  uint32_t count = 0;
  for (int core = 0; core < CPU_SETSIZE && (wanted == 0 || count < wanted); ++core) {
    if (!CPU_ISSET(core, &allowed)) continue;
    CPU_SET(core, &kept);
    ++count;
  }
  sched_setaffinity(0, sizeof kept, &kept);
  return count;
}

std::string processor() {
  char line[256];
  std::string found;
  FILE* const file = fopen("/proc/cpuinfo", "r");
  if (file == nullptr) return found;
  while (found.empty() && fgets(line, sizeof line, file) != nullptr) {
    const char* const colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) == 0 && colon != nullptr) found = colon + 2;
  }
  fclose(file);
  while (!found.empty() && found.back() == '\n') found.pop_back();
  return found;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) >= ' ') result += c;
  }
  return result + '"';
}

double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// ---- Comparing
// -----------------------------------------------------------------------------------

double from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

double from_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double sign = bits >> 15 ? -1 : 1;
  if (exponent == 31) return fraction != 0 ? NAN : sign * INFINITY;
  return sign * (exponent == 0 ? ldexp(fraction, -24) : ldexp(fraction + 1024, exponent - 25));
}

template <class T>
T element(const bireme_tensor& tensor, size_t index) {
  T value;
  memcpy(&value, static_cast<const char*>(tensor.data) + index * sizeof value, sizeof value);
  return value;
}

double element_of(const bireme_tensor& tensor, size_t index) {
  switch (tensor.dtype) {
    case BIREME_F64:
      return element<double>(tensor, index);
    case BIREME_F32:
      return element<float>(tensor, index);
    case BIREME_F16:
      return from_half(element<uint16_t>(tensor, index));
    default:
      return from_bits(static_cast<uint32_t>(element<uint16_t>(tensor, index)) << 16);
  }
}

// Elements of a result that differ from the expected ones by more than is allowed. NaN equals NaN.
// Types without a tolerance must be equal.
size_t differing(const bireme_tensor& expected, const bireme_tensor& found,
                 const Request& request) {
  const size_t width = bireme_dtype_bytes(expected.dtype), count = expected.bytes / width;
  if (found.bytes != expected.bytes) return count > 0 ? count : 1;
  const Tolerance* allowed = nullptr;
  for (const auto& [dtype, tolerance] : request.tolerances)
    if (dtype == bireme_dtype_name(expected.dtype)) allowed = &tolerance;
  size_t wrong = 0;
  if (allowed == nullptr || expected.dtype < BIREME_F16 || expected.dtype > BIREME_F64) {
    const char *a = static_cast<const char*>(expected.data), *b = static_cast<char*>(found.data);
    for (size_t i = 0; i < count; ++i) wrong += memcmp(a + i * width, b + i * width, width) != 0;
    return wrong;
  }
  double scale = 0;
  for (size_t i = 0; i < count; ++i) {
    const double size = fabs(element_of(expected, i));
    if (isfinite(size) && size > scale) scale = size;
  }
  for (size_t i = 0; i < count; ++i) {
    const double a = element_of(expected, i), b = element_of(found, i);
    if (a == b || (isnan(a) && isnan(b))) continue;
    const double bound = allowed->relative * (fabs(a) + scale) + allowed->absolute;
    wrong += !isfinite(a) || !isfinite(b) || fabs(a - b) > bound;
  }
  return wrong;
}

// ---- Measuring
// -----------------------------------------------------------------------------------

// An artefact without inputs and what it shows.
class Bench {
 public:
  explicit Bench(const Request& request) : request_(request) {
    bireme_load_options options = BIREME_LOAD_OPTIONS_INIT;
    options.max_isa = request.isa;
    bireme_status status = BIREME_STATUS_INIT;
    check(bireme_model_load_file(request.path, &options, &model_, &status), status);
    bireme_session_options how = BIREME_SESSION_OPTIONS_INIT;
    how.threads = request.threads;
    how.profile = 1;
    check(bireme_session_create(model_, &how, &session_, &status), status);
    outputs_.resize(bireme_model_output_count(model_));
    for (uint32_t i = 0; i < bireme_session_profile_count(session_); ++i) {
      int variant = 0;
      if (sscanf(entry(i).op, "variant %d", &variant) == 1) launches_.push_back(i);
    }
    last_.resize(launches_.size());
  }

  ~Bench() {
    bireme_session_free(session_);
    bireme_model_free(model_);
  }

  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  std::string isa() const {
    bireme_model_info info = BIREME_MODEL_INFO_INIT;
    bireme_status status = BIREME_STATUS_INIT;
    check(bireme_model_describe(model_, &info, &status), status);
    return info.isa;
  }

  // Runs once; gives what each variant took.
  std::vector<uint64_t> run() {
    for (bireme_tensor& output : outputs_) output.data = nullptr;
    bireme_status status = BIREME_STATUS_INIT;
    const uint32_t count = static_cast<uint32_t>(outputs_.size());
    check(bireme_session_run(session_, nullptr, 0, outputs_.data(), count, &status), status);
    std::vector<uint64_t> took(launches_.size());
    for (size_t i = 0; i < launches_.size(); ++i) {
      const uint64_t sum = entry(launches_[i]).nanoseconds;
      took[i] = sum - last_[i];
      last_[i] = sum;
    }
    return took;
  }

  // For each variant, the elements of its results in the last run that are wrong.
  std::vector<size_t> wrong() const {
    std::vector<size_t> found(launches_.size());
    for (uint32_t i = 0; i < outputs_.size(); ++i) {
      size_t variant = 0;
      unsigned result = 0;
      if (sscanf(name(i).c_str(), "v%zu.r%u", &variant, &result) != 2) continue;
      const std::string expected = "expected.r" + std::to_string(result);
      for (uint32_t j = 0; j < outputs_.size(); ++j)
        if (name(j) == expected && variant < found.size())
          found[variant] += differing(outputs_[j], outputs_[i], request_);
    }
    return found;
  }

 private:
  bireme_profile_entry entry(uint32_t index) const {
    bireme_profile_entry found = BIREME_PROFILE_ENTRY_INIT;
    bireme_status status = BIREME_STATUS_INIT;
    check(bireme_session_profile(session_, index, &found, &status), status);
    return found;
  }

  std::string name(uint32_t output) const {
    bireme_tensor_info info = BIREME_TENSOR_INFO_INIT;
    bireme_status status = BIREME_STATUS_INIT;
    check(bireme_model_output(model_, output, &info, &status), status);
    return info.name;
  }

  const Request& request_;
  bireme_model* model_ = nullptr;
  bireme_session* session_ = nullptr;
  std::vector<bireme_tensor> outputs_;
  std::vector<uint32_t> launches_;
  std::vector<uint64_t> last_;
};

template <class T>
void print_list(const std::vector<T>& values) {
  printf("[");
  for (size_t i = 0; i < values.size(); ++i)
    printf("%s%llu", i > 0 ? ", " : "", static_cast<unsigned long long>(values[i]));
  printf("]");
}

}  // namespace

int main(int argc, char** argv) {
  Request request = parse(argc, argv);
  request.threads = keep_to_cores(request.threads);
  Bench bench(request);
  for (int i = 0; i < kWarmUp; ++i) bench.run();
  printf("\"cpu\": %s, \"isa\": %s, \"threads\": %u, \"wrong\": ", quoted(processor()).c_str(),
         quoted(bench.isa()).c_str(), request.threads);
  print_list(bench.wrong());
  printf(", \"times\": [");
  const double start = now();
  for (int round = 0; round < request.most; ++round) {
    printf("%s", round > 0 ? ", " : "");
    print_list(bench.run());
    if (round + 1 >= request.least && now() - start > request.seconds) break;
  }
  printf("]\n");
  return 0;
}
