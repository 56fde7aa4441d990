// Bireme runtime for C++17: a header-only layer over bireme.h that owns handles and throws.
//
//   bireme::Model model("model.bireme");
//   bireme::Session session(model);
//   std::vector<float> x(3 * 48 * 192);
//   auto outputs = session.run({bireme::tensor(x.data(), {1, 3, 48, 192})});
//   const float* y = outputs[0].data<float>();
#ifndef BIREME_BIREME_HPP_
#define BIREME_BIREME_HPP_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bireme/bireme.h"

namespace bireme {

// What every function here throws. what() has all of it in one line.
class Error : public std::runtime_error {
 public:
  explicit Error(const bireme_status& status)
      : std::runtime_error(line(status)),
        code(status.code),
        op(status.op),
        node(status.node),
        message(status.message),
        hint(status.hint) {}

  const int32_t code;  // 5007 is BM5007
  const std::string op;
  const std::string node;
  const std::string message;
  const std::string hint;

 private:
  static std::string line(const bireme_status& status) {
    std::string text = "BM" + std::to_string(status.code) + ": " + status.message;
    if (status.op[0] || status.node[0])
      text += std::string(" (op ") + status.op + ", node " + status.node + ")";
    return text + ". Hint: " + status.hint;
  }
};

namespace detail {

// Calls a function of the C interface with a status as its last argument.
template <class Function, class... Arguments>
void call(Function function, Arguments... arguments) {
  bireme_status status = BIREME_STATUS_INIT;
  if (function(arguments..., &status) != 0) throw Error(status);
}

template <class T>
struct DTypeOf;  // not defined: T is no element type
#define BIREME_ELEMENT(type, value)              \
  template <>                                    \
  struct DTypeOf<type> {                         \
    static constexpr bireme_dtype dtype = value; \
  };
BIREME_ELEMENT(bool, BIREME_BOOL)
BIREME_ELEMENT(int8_t, BIREME_I8)
BIREME_ELEMENT(uint8_t, BIREME_U8)
BIREME_ELEMENT(int16_t, BIREME_I16)
BIREME_ELEMENT(uint16_t, BIREME_U16)
BIREME_ELEMENT(int32_t, BIREME_I32)
BIREME_ELEMENT(uint32_t, BIREME_U32)
BIREME_ELEMENT(int64_t, BIREME_I64)
BIREME_ELEMENT(uint64_t, BIREME_U64)
BIREME_ELEMENT(float, BIREME_F32)
BIREME_ELEMENT(double, BIREME_F64)
#undef BIREME_ELEMENT

}  // namespace detail

// An input: memory of the caller, which outlives the run, and its shape.
struct Input {
  const void* data;
  size_t bytes;
  std::vector<int64_t> shape;
  bireme_dtype dtype;
};

// Dense row-major input of a C++ type. Types that C++ lacks: make an Input with their dtype.
template <class T>
Input tensor(const T* data, std::vector<int64_t> shape) {
  size_t bytes = sizeof(T);
  for (int64_t size : shape) bytes *= static_cast<size_t>(size);
  return {data, bytes, std::move(shape), detail::DTypeOf<T>::dtype};
}

// An output in the session's memory, valid until the session runs again.
class Output {
 public:
  explicit Output(const bireme_tensor& tensor)
      : shape(tensor.shape, tensor.shape + tensor.rank),
        dtype(tensor.dtype),
        bytes(tensor.bytes),
        data_(tensor.data) {}

  // The elements as `T`; throws std::invalid_argument if they are something else.
  template <class T>
  const T* data() const {
    if (detail::DTypeOf<T>::dtype != dtype)
      throw std::invalid_argument(std::string("the output is ") + bireme_dtype_name(dtype));
    return static_cast<const T*>(data_);
  }
  const void* raw() const { return data_; }

  std::vector<int64_t> shape;
  bireme_dtype dtype;
  size_t bytes;

 private:
  void* data_;
};

struct LoadOptions {
  bool verify_weights = true;
  std::string max_isa;   // "": the CPU's
  uint32_t threads = 0;  // that look for damage; 0: all of the pool
};

class Model {
 public:
  explicit Model(const std::string& path, const LoadOptions& options = {}) {
    const bireme_load_options native = translate(options);
    detail::call(bireme_model_load_file, path.c_str(), &native, &handle_);
  }
  // `data` must stay unchanged while the model exists.
  Model(const void* data, size_t bytes, const LoadOptions& options = {}) {
    const bireme_load_options native = translate(options);
    detail::call(bireme_model_load_memory, data, bytes, &native, &handle_);
  }
  Model(Model&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Model& operator=(Model&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Model() { bireme_model_free(handle_); }

  std::vector<bireme_tensor_info> inputs() const {
    return list(bireme_model_input_count(handle_), bireme_model_input);
  }
  std::vector<bireme_tensor_info> outputs() const {
    return list(bireme_model_output_count(handle_), bireme_model_output);
  }
  bireme_model_info info() const {
    bireme_model_info info = BIREME_MODEL_INFO_INIT;
    detail::call(bireme_model_describe, handle_, &info);
    return info;
  }
  bireme_model* handle() const { return handle_; }

 private:
  static bireme_load_options translate(const LoadOptions& options) {
    bireme_load_options native = BIREME_LOAD_OPTIONS_INIT;
    native.skip_weights_check = options.verify_weights ? 0 : 1;
    native.max_isa = options.max_isa.empty() ? nullptr : options.max_isa.c_str();
    native.threads = options.threads;
    return native;
  }
  template <class Query>
  std::vector<bireme_tensor_info> list(uint32_t count, Query query) const {
    std::vector<bireme_tensor_info> result(count, bireme_tensor_info BIREME_TENSOR_INFO_INIT);
    for (uint32_t i = 0; i < count; ++i) detail::call(query, handle_, i, &result[i]);
    return result;
  }

  bireme_model* handle_ = nullptr;
};

struct SessionOptions {
  uint32_t threads = 0;  // 0: all of the pool
  bool profile = false;
};

// Used by one thread at a time. Keeps its model alive.
class Session {
 public:
  explicit Session(const Model& model, const SessionOptions& options = {})
      : output_count_(bireme_model_output_count(model.handle())) {
    bireme_session_options native = BIREME_SESSION_OPTIONS_INIT;
    native.threads = options.threads;
    native.profile = options.profile ? 1 : 0;
    detail::call(bireme_session_create, model.handle(), &native, &handle_);
  }
  Session(Session&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)), output_count_(other.output_count_) {}
  Session& operator=(Session&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(output_count_, other.output_count_);
    return *this;
  }
  ~Session() { bireme_session_free(handle_); }

  // What random numbers depend on; see bireme_session_set_seed.
  uint64_t seed() const { return bireme_session_seed(handle_); }
  void set_seed(uint64_t seed) { detail::call(bireme_session_set_seed, handle_, seed); }

  // Inputs in the model's order. For runs without any allocation use bireme_session_run.
  std::vector<Output> run(const std::vector<Input>& inputs) {
    std::vector<bireme_tensor> in;
    for (const Input& input : inputs)
      in.push_back({const_cast<void*>(input.data), input.bytes, input.shape.data(),
                    static_cast<uint32_t>(input.shape.size()), input.dtype});
    std::vector<bireme_tensor> out(output_count_);
    detail::call(bireme_session_run, handle_, in.data(), static_cast<uint32_t>(in.size()),
                 out.data(), output_count_);
    return std::vector<Output>(out.begin(), out.end());
  }

  bireme_memory_info memory() const {
    bireme_memory_info info = BIREME_MEMORY_INFO_INIT;
    detail::call(bireme_session_memory, handle_, &info);
    return info;
  }
  std::vector<bireme_profile_entry> profile() const {
    std::vector<bireme_profile_entry> result(bireme_session_profile_count(handle_),
                                             bireme_profile_entry BIREME_PROFILE_ENTRY_INIT);
    for (uint32_t i = 0; i < result.size(); ++i)
      detail::call(bireme_session_profile, handle_, i, &result[i]);
    return result;
  }
  bireme_session* handle() const { return handle_; }

 private:
  bireme_session* handle_ = nullptr;
  uint32_t output_count_ = 0;
};

}  // namespace bireme

#endif  // BIREME_BIREME_HPP_
