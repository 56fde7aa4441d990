// The C interface: checks arguments, translates structs of any version, and calls the classes
// inside.
#include <string.h>

#include "model.h"
#include "plan.h"
#include "pool.h"
#include "session.h"
#include "status.h"

// Handles are the objects themselves under a name that C can have.
struct bireme_model : bireme::internal::Model {};
struct bireme_session : bireme::internal::Session {};

namespace bireme::internal {
namespace {

Model* inside(bireme_model* model) { return static_cast<Model*>(model); }
const Model* inside(const bireme_model* model) { return static_cast<const Model*>(model); }
Session* inside(bireme_session* session) { return static_cast<Session*>(session); }
const Session* inside(const bireme_session* session) {
  return static_cast<const Session*>(session);
}

// Copies as much of a struct as its owner's version of the header knows of.
template <class Struct>
void give(const Struct& value, Struct* to) {
  const uint32_t bytes = to->struct_bytes < sizeof value ? to->struct_bytes : sizeof value;
  const uint32_t known = to->struct_bytes;
  memcpy(static_cast<void*>(to), &value, bytes);
  to->struct_bytes = known;
}

// The caller's options over `defaults`; null leaves them as they are.
template <class Struct>
Struct take(const Struct* given, Struct defaults) {
  if (!given) return defaults;
  const uint32_t bytes =
      given->struct_bytes < sizeof defaults ? given->struct_bytes : sizeof defaults;
  memcpy(static_cast<void*>(&defaults), given, bytes);
  defaults.struct_bytes = sizeof defaults;
  return defaults;
}

// Runs `body` with a status of this version and hands it to the caller.
template <class Body>
int32_t report(bireme_status* status, Body body) {
  Fault fault = BIREME_STATUS_INIT;
  const Code code = body(fault);
  if (status && status->struct_bytes >= 2 * sizeof(uint32_t)) give(fault, status);
  return static_cast<int32_t>(code);
}

Code null_argument(Fault& fault, const char* name) {
  return fail(fault, Code::bad_argument, "%s is null", name);
}

Code describe(const Model& model, const flatbuffers::Vector<uint32_t>* list, uint32_t index,
              bireme_tensor_info* info, Fault& fault) {
  if (!info) return null_argument(fault, "info");
  if (index >= length(list))
    return fail(fault, Code::bad_argument, "index %u of %zu", index, length(list));
  const uint32_t id = list->Get(index);
  const fb::Tensor& tensor = *model.plan().tensors()->Get(id);
  bireme_tensor_info result = BIREME_TENSOR_INFO_INIT;
  result.dtype = static_cast<bireme_dtype>(tensor.dtype());
  result.name = text(tensor.name());
  result.dims = model.dims(id);
  result.rank = static_cast<uint32_t>(length(tensor.shape()));
  give(result, info);
  return Code::ok;
}

LoadOptions load_options(const bireme_load_options* given) {
  const bireme_load_options options = take(given, BIREME_LOAD_OPTIONS_INIT);
  LoadOptions result;
  result.check_weights = options.skip_weights_check == 0;
  result.max_isa = options.max_isa;
  result.threads = options.threads;
  return result;
}

}  // namespace
}  // namespace bireme::internal

using namespace bireme::internal;
namespace fb = bireme::fb;

uint32_t bireme_version(void) {
  return BIREME_VERSION_MAJOR * 10000 + BIREME_VERSION_MINOR * 100 + BIREME_VERSION_PATCH;
}

size_t bireme_dtype_bytes(bireme_dtype dtype) { return dtype_bytes(uint32_t{dtype}); }

const char* bireme_dtype_name(bireme_dtype dtype) { return dtype_name(dtype); }

int32_t bireme_model_load_file(const char* path, const bireme_load_options* options,
                               bireme_model** model, bireme_status* status) {
  return report(status, [&](Fault& fault) {
    if (!path) return null_argument(fault, "path");
    if (!model) return null_argument(fault, "model");
    Model* loaded = nullptr;
    BIREME_TRY(Model::load_file(path, load_options(options), &loaded, fault));
    *model = static_cast<bireme_model*>(loaded);
    return Code::ok;
  });
}

int32_t bireme_model_load_memory(const void* data, size_t bytes, const bireme_load_options* options,
                                 bireme_model** model, bireme_status* status) {
  return report(status, [&](Fault& fault) {
    if (!data) return null_argument(fault, "data");
    if (!model) return null_argument(fault, "model");
    Model* loaded = nullptr;
    BIREME_TRY(Model::load_memory(data, bytes, load_options(options), &loaded, fault));
    *model = static_cast<bireme_model*>(loaded);
    return Code::ok;
  });
}

void bireme_model_free(bireme_model* model) {
  if (model) inside(model)->release();
}

uint32_t bireme_model_input_count(const bireme_model* model) {
  return model ? static_cast<uint32_t>(length(inside(model)->plan().inputs())) : 0;
}

uint32_t bireme_model_output_count(const bireme_model* model) {
  return model ? static_cast<uint32_t>(length(inside(model)->plan().outputs())) : 0;
}

int32_t bireme_model_input(const bireme_model* model, uint32_t index, bireme_tensor_info* info,
                           bireme_status* status) {
  return report(status, [&](Fault& fault) {
    if (!model) return null_argument(fault, "model");
    return describe(*inside(model), inside(model)->plan().inputs(), index, info, fault);
  });
}

int32_t bireme_model_output(const bireme_model* model, uint32_t index, bireme_tensor_info* info,
                            bireme_status* status) {
  return report(status, [&](Fault& fault) {
    if (!model) return null_argument(fault, "model");
    return describe(*inside(model), inside(model)->plan().outputs(), index, info, fault);
  });
}

int32_t bireme_model_describe(const bireme_model* model, bireme_model_info* info,
                              bireme_status* status) {
  return report(status, [&](Fault& fault) {
    if (!model) return null_argument(fault, "model");
    if (!info) return null_argument(fault, "info");
    const fb::Plan& plan = inside(model)->plan();
    bireme_model_info result = BIREME_MODEL_INFO_INIT;
    result.name = text(plan.model());
    result.producer = plan.producer()->c_str();
    result.isa = inside(model)->code().isa();
    result.weight_bytes = inside(model)->weight_bytes();
    result.code_bytes = inside(model)->code().bytes();
    result.arena_hint_bytes = plan.arena_hint_bytes();
    result.arena_lower_bound_bytes = plan.arena_lower_bound_bytes();
    give(result, info);
    return Code::ok;
  });
}

int32_t bireme_session_create(bireme_model* model, const bireme_session_options* options,
                              bireme_session** session, bireme_status* status) {
  return report(status, [&](Fault& fault) {
    if (!model) return null_argument(fault, "model");
    if (!session) return null_argument(fault, "session");
    const bireme_session_options chosen = take(options, BIREME_SESSION_OPTIONS_INIT);
    Session* created = nullptr;
    BIREME_TRY(Session::create(*inside(model), chosen.threads, chosen.profile, &created, fault));
    if (chosen.profile && chosen.trace && !created->trace().create(chosen.trace)) {
      destroy_object(created);
      return fail(fault, Code::out_of_memory, "for a trace of %u events", chosen.trace);
    }
    *session = static_cast<bireme_session*>(created);
    return Code::ok;
  });
}

void bireme_session_free(bireme_session* session) {
  if (session) destroy_object(inside(session));
}

int32_t bireme_session_set_seed(bireme_session* session, uint64_t seed, bireme_status* status) {
  return report(status, [&](Fault& fault) {
    if (!session) return null_argument(fault, "session");
    return inside(session)->set_seed(seed, fault);
  });
}

uint64_t bireme_session_seed(const bireme_session* session) {
  return session ? inside(session)->seed() : 0;
}

int32_t bireme_session_plan(bireme_session* session, const bireme_tensor* inputs,
                            uint32_t input_count, bireme_tensor* outputs, uint32_t output_count,
                            bireme_status* status) {
  return report(status, [&](Fault& fault) {
    if (!session) return null_argument(fault, "session");
    if (!inputs && input_count) return null_argument(fault, "inputs");
    if (!outputs && output_count) return null_argument(fault, "outputs");
    return inside(session)->plan(inputs, input_count, outputs, output_count, fault);
  });
}

int32_t bireme_session_run(bireme_session* session, const bireme_tensor* inputs,
                           uint32_t input_count, bireme_tensor* outputs, uint32_t output_count,
                           bireme_status* status) {
  return report(status, [&](Fault& fault) {
    if (!session) return null_argument(fault, "session");
    if (!inputs && input_count) return null_argument(fault, "inputs");
    if (!outputs && output_count) return null_argument(fault, "outputs");
    return inside(session)->run(inputs, input_count, outputs, output_count, fault);
  });
}

int32_t bireme_session_memory(const bireme_session* session, bireme_memory_info* info,
                              bireme_status* status) {
  return report(status, [&](Fault& fault) {
    if (!session) return null_argument(fault, "session");
    if (!info) return null_argument(fault, "info");
    bireme_memory_info result = BIREME_MEMORY_INFO_INIT;
    inside(session)->memory(result);
    give(result, info);
    return Code::ok;
  });
}

uint32_t bireme_session_profile_count(const bireme_session* session) {
  return session ? inside(session)->profile_count() : 0;
}

int32_t bireme_session_profile(const bireme_session* session, uint32_t index,
                               bireme_profile_entry* entry, bireme_status* status) {
  return report(status, [&](Fault& fault) {
    if (!session) return null_argument(fault, "session");
    if (!entry) return null_argument(fault, "entry");
    if (index >= inside(session)->profile_count())
      return fail(fault, Code::bad_argument, "instruction %u of %u", index,
                  inside(session)->profile_count());
    bireme_profile_entry result = BIREME_PROFILE_ENTRY_INIT;
    inside(session)->profile(index, result);
    give(result, entry);
    return Code::ok;
  });
}

const bireme_trace_event* bireme_session_trace(const bireme_session* session, uint32_t* count,
                                               uint64_t* missed) {
  const bool traced = session && inside(session)->trace().active();
  const uint64_t added = traced ? inside(session)->trace().added() : 0;
  const uint64_t room = traced ? inside(session)->trace().room() : 0;
  const uint64_t kept = added < room ? added : room;
  if (count) *count = static_cast<uint32_t>(kept);
  if (missed) *missed = added - kept;
  return traced ? inside(session)->trace().events() : nullptr;
}

int32_t bireme_pool_set(const bireme_pool_options* options, bireme_status* status) {
  return report(status, [&](Fault& fault) {
    if (!options) return null_argument(fault, "options");
    return pool_set(take(options, BIREME_POOL_OPTIONS_INIT), fault);
  });
}

uint32_t bireme_pool_threads(void) { return pool_threads(); }
