// bireme.runtime._native: the C interface as Python sees it. Arrays come in through the buffer
// protocol and go out as NumPy arrays; names, dtypes and DLPack are handled in __init__.py.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <iterator>
#include <string>
#include <tuple>
#include <vector>

#include "bireme/bireme.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

struct ErrorEntry {
  int number;
  const char* name;
  const char* meaning;
  const char* hint;
};
constexpr ErrorEntry kErrors[] = {
#define BIREME_ERROR(number, name, meaning, hint) {number, #name, meaning, hint},
#include "errors.def"
#undef BIREME_ERROR
};
constexpr int kOutOfMemory = 5001;
constexpr int kSessionBusy = 5015;

[[noreturn]] void raise(int number, const char* op, const char* node, const char* message,
                        const char* hint) {
  const nb::object type = nb::module_::import_("bireme.runtime.fault").attr("RuntimeFault");
  const nb::object error = type("BM" + std::to_string(number), op, node, message, hint);
  PyErr_SetObject(type.ptr(), error.ptr());
  throw nb::python_error();
}

// For what this file finds itself; the hint is the table's.
[[noreturn]] void raise(int number, const char* message) {
  const auto* entry = std::find_if(std::begin(kErrors), std::end(kErrors),
                                   [&](const ErrorEntry& e) { return e.number == number; });
  raise(number, "", "", message, entry->hint);
}

// Raises bireme.runtime.RuntimeFault if `status` is an error.
void check(const bireme_status& status) {
  if (status.code != 0) raise(status.code, status.op, status.node, status.message, status.hint);
}

// Rows (code, name, meaning, hint) of errors.def.
std::vector<std::tuple<std::string, std::string, std::string, std::string>> error_table() {
  std::vector<std::tuple<std::string, std::string, std::string, std::string>> rows;
  for (const ErrorEntry& entry : kErrors)
    rows.emplace_back("BM" + std::to_string(entry.number), entry.name, entry.meaning, entry.hint);
  return rows;
}

class Model {
 public:
  Model(const std::string& path, const nb::handle max_isa, bool verify_weights, uint32_t threads) {
    std::string isa;
    const bireme_load_options options = make_options(max_isa, verify_weights, threads, isa);
    bireme_status status = BIREME_STATUS_INIT;
    {
      nb::gil_scoped_release unlocked;
      bireme_model_load_file(path.c_str(), &options, &model_, &status);
    }
    check(status);
  }

  Model(const nb::bytes& data, const nb::handle max_isa, bool verify_weights, uint32_t threads)
      : data_(data) {
    std::string isa;
    const bireme_load_options options = make_options(max_isa, verify_weights, threads, isa);
    bireme_status status = BIREME_STATUS_INIT;
    bireme_model_load_memory(data.c_str(), data.size(), &options, &model_, &status);
    check(status);
  }

  ~Model() { bireme_model_free(model_); }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  bireme_model* get() const { return model_; }

  // Rows (name, dtype number, dims); a dim is (size or -1, symbol or "").
  using Dims = std::vector<std::tuple<int64_t, std::string, int64_t, int64_t>>;
  using Row = std::tuple<std::string, int, Dims>;
  std::vector<Row> inputs() const {
    return rows(bireme_model_input_count(model_), bireme_model_input);
  }
  std::vector<Row> outputs() const {
    return rows(bireme_model_output_count(model_), bireme_model_output);
  }

  nb::dict describe() const {
    bireme_model_info info = BIREME_MODEL_INFO_INIT;
    bireme_status status = BIREME_STATUS_INIT;
    bireme_model_describe(model_, &info, &status);
    check(status);
    nb::dict result;
    result["name"] = info.name;
    result["producer"] = info.producer;
    result["isa"] = info.isa;
    result["weight_bytes"] = info.weight_bytes;
    result["code_bytes"] = info.code_bytes;
    result["arena_hint_bytes"] = info.arena_hint_bytes;
    result["arena_lower_bound_bytes"] = info.arena_lower_bound_bytes;
    return result;
  }

 private:
  static bireme_load_options make_options(nb::handle max_isa, bool verify_weights, uint32_t threads,
                                          std::string& isa) {
    bireme_load_options options = BIREME_LOAD_OPTIONS_INIT;
    options.skip_weights_check = verify_weights ? 0 : 1;
    options.threads = threads;
    if (!max_isa.is_none()) {
      isa = nb::cast<std::string>(max_isa);
      options.max_isa = isa.c_str();
    }
    return options;
  }

  template <class Query>
  std::vector<Row> rows(uint32_t count, Query query) const {
    std::vector<Row> result;
    for (uint32_t i = 0; i < count; ++i) {
      bireme_tensor_info info = BIREME_TENSOR_INFO_INIT;
      bireme_status status = BIREME_STATUS_INIT;
      query(model_, i, &info, &status);
      check(status);
      Dims dims;
      for (uint32_t d = 0; d < info.rank; ++d) {
        const bireme_dim& dim = info.dims[d];
        dims.emplace_back(dim.size, dim.symbol ? dim.symbol : "", dim.min, dim.max);
      }
      result.emplace_back(info.name, static_cast<int>(info.dtype), std::move(dims));
    }
    return result;
  }

  nb::object data_;  // keeps the memory that was loaded from
  bireme_model* model_ = nullptr;
};

// A C-contiguous view of an object's memory for as long as this lives.
class Buffer {
 public:
  explicit Buffer(const nb::object& object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_C_CONTIGUOUS) != 0) throw nb::python_error();
    shape_.assign(view_.shape, view_.shape + view_.ndim);
  }
  ~Buffer() { PyBuffer_Release(&view_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  bireme_tensor tensor(int dtype) const {
    return {view_.buf, static_cast<size_t>(view_.len), shape_.data(),
            static_cast<uint32_t>(shape_.size()), static_cast<bireme_dtype>(dtype)};
  }

 private:
  Py_buffer view_ = {};
  std::vector<int64_t> shape_;
};

nb::dlpack::dtype numpy_dtype(bireme_dtype dtype) {
  switch (dtype) {
    case BIREME_BOOL:
      return nb::dtype<bool>();
    case BIREME_I8:
      return nb::dtype<int8_t>();
    case BIREME_U8:
      return nb::dtype<uint8_t>();
    case BIREME_I16:
      return nb::dtype<int16_t>();
    case BIREME_I32:
      return nb::dtype<int32_t>();
    case BIREME_U32:
      return nb::dtype<uint32_t>();
    case BIREME_I64:
      return nb::dtype<int64_t>();
    case BIREME_U64:
      return nb::dtype<uint64_t>();
    case BIREME_F32:
      return nb::dtype<float>();
    case BIREME_F64:
      return nb::dtype<double>();
    default:  // types that the binding does not know: the caller views them as what they are
      return bireme_dtype_bytes(dtype) == 1 ? nb::dtype<uint8_t>() : nb::dtype<uint16_t>();
  }
}

// Memory for an output, aligned to 64 bytes, as an object that frees it.
nb::capsule allocate(bireme_tensor& tensor) {
  if (posix_memalign(&tensor.data, 64, tensor.bytes ? tensor.bytes : 1) != 0)
    raise(kOutOfMemory, "for an output");
  return nb::capsule(tensor.data, [](void* p) noexcept { free(p); });
}

// The output as a NumPy array that keeps `owner`.
nb::object as_array(const bireme_tensor& tensor, const nb::capsule& owner) {
  const std::vector<size_t> shape(tensor.shape, tensor.shape + tensor.rank);
  return nb::cast(nb::ndarray<nb::numpy>(tensor.data, shape.size(), shape.data(), owner, nullptr,
                                         numpy_dtype(tensor.dtype)));
}

class Session {
 public:
  Session(const Model& model, uint32_t threads, uint32_t profile, uint32_t trace) {
    bireme_session_options options = BIREME_SESSION_OPTIONS_INIT;
    options.threads = threads;
    options.profile = profile;
    options.trace = trace;
    bireme_status status = BIREME_STATUS_INIT;
    bireme_session_create(model.get(), &options, &session_, &status);
    check(status);
    outputs_ = bireme_model_output_count(model.get());
  }
  ~Session() { bireme_session_free(session_); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  uint64_t seed() const { return bireme_session_seed(session_); }
  void set_seed(uint64_t seed) {
    bireme_status status = BIREME_STATUS_INIT;
    bireme_session_set_seed(session_, seed, &status);
    check(status);
  }

  // `arrays` in the model's order, each C-contiguous, with the numbers of their dtypes.
  nb::list run(const nb::list& arrays, const std::vector<int>& dtypes) {
    // From planning to the end: the shapes of outputs belong to the session.
    const Use use(in_use_);
    std::deque<Buffer> buffers;  // never moves its elements
    std::vector<bireme_tensor> inputs;
    for (size_t i = 0; i < arrays.size(); ++i)
      inputs.push_back(buffers.emplace_back(arrays[i]).tensor(dtypes.at(i)));
    std::vector<bireme_tensor> outputs(outputs_);
    const uint32_t count = static_cast<uint32_t>(inputs.size());

    bireme_status status = BIREME_STATUS_INIT;
    bireme_session_plan(session_, inputs.data(), count, outputs.data(), outputs_, &status);
    check(status);
    std::vector<nb::capsule> owners;
    for (bireme_tensor& output : outputs) owners.push_back(allocate(output));
    {
      nb::gil_scoped_release unlocked;
      bireme_session_run(session_, inputs.data(), count, outputs.data(), outputs_, &status);
    }
    check(status);
    nb::list results;  // only now all sizes are known
    for (uint32_t i = 0; i < outputs_; ++i) results.append(as_array(outputs[i], owners[i]));
    return results;
  }

  nb::dict memory() const {
    bireme_memory_info info = BIREME_MEMORY_INFO_INIT;
    bireme_status status = BIREME_STATUS_INIT;
    bireme_session_memory(session_, &info, &status);
    check(status);
    nb::dict result;
    result["arena_bytes"] = info.arena_bytes;
    result["workspace_bytes"] = info.workspace_bytes;
    result["output_bytes"] = info.output_bytes;
    result["peak_bytes"] = info.peak_bytes;
    return result;
  }

  // Rows (op, node, kernel, kind, calls, nanoseconds, operations, bytes, tasks), one for each
  // instruction.
  nb::list profile() const {
    nb::list rows;
    for (uint32_t i = 0; i < bireme_session_profile_count(session_); ++i) {
      bireme_profile_entry entry = BIREME_PROFILE_ENTRY_INIT;
      bireme_status status = BIREME_STATUS_INIT;
      bireme_session_profile(session_, i, &entry, &status);
      check(status);
      rows.append(nb::make_tuple(entry.op, entry.node, entry.kernel, entry.kind, entry.calls,
                                 entry.nanoseconds, entry.operations, entry.bytes, entry.tasks));
    }
    return rows;
  }

  // Rows (instruction, worker, begin, end) of the last run, and how many found no room.
  nb::tuple trace() const {
    uint32_t count = 0;
    uint64_t missed = 0;
    const bireme_trace_event* events = bireme_session_trace(session_, &count, &missed);
    nb::list rows;
    for (uint32_t i = 0; i < count; ++i)
      rows.append(
          nb::make_tuple(events[i].instruction, events[i].worker, events[i].begin, events[i].end));
    return nb::make_tuple(rows, missed);
  }

 private:
  // Holds a session for one thread; raises if another has it.
  class Use {
   public:
    explicit Use(std::atomic<bool>& flag) : flag_(flag) {
      if (flag_.exchange(true)) raise(kSessionBusy, "run was called while the session runs");
    }
    ~Use() { flag_ = false; }

   private:
    std::atomic<bool>& flag_;
  };

  std::atomic<bool> in_use_{false};
  bireme_session* session_ = nullptr;
  uint32_t outputs_ = 0;
};

}  // namespace

NB_MODULE(_native, module) {
  module.doc() = "The Bireme runtime's C interface; use bireme.runtime.";
  nb::class_<Model>(module, "Model")
      .def(nb::init<const nb::bytes&, nb::handle, bool, uint32_t>(), "data"_a, "max_isa"_a.none(),
           "verify_weights"_a, "threads"_a)
      .def(nb::init<const std::string&, nb::handle, bool, uint32_t>(), "path"_a, "max_isa"_a.none(),
           "verify_weights"_a, "threads"_a)
      .def("inputs", &Model::inputs)
      .def("outputs", &Model::outputs)
      .def("describe", &Model::describe);
  nb::class_<Session>(module, "Session")
      .def(nb::init<const Model&, uint32_t, uint32_t, uint32_t>(), "model"_a, "threads"_a,
           "profile"_a, "trace"_a)
      .def("seed", &Session::seed)
      .def("set_seed", &Session::set_seed, "seed"_a)
      .def("run", &Session::run, "arrays"_a, "dtypes"_a)
      .def("memory", &Session::memory)
      .def("profile", &Session::profile)
      .def("trace", &Session::trace);
  module.def("error_table", &error_table);
  module.def("pool_threads", &bireme_pool_threads);
}
