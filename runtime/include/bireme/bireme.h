/* Bireme runtime, C interface.
 *
 *   bireme_model* model;
 *   bireme_session* session;
 *   bireme_status status = BIREME_STATUS_INIT;
 *   if (bireme_model_load_file("model.bireme", NULL, &model, &status) ||
 *       bireme_session_create(model, NULL, &session, &status) ||
 *       bireme_session_run(session, inputs, 1, outputs, 1, &status))
 *     printf("BM%d: %s\n", status.code, status.message);
 *
 * Rules that hold everywhere:
 *  - Every function that can fail returns 0 or a code of runtime/errors.def and fills `status`,
 *    which may be NULL. Nothing is thrown, nothing is printed, and no argument makes the process
 *    crash or exit except an address that is not what the function documents.
 *  - Structs start with `struct_bytes`, set to sizeof by their BIREME_..._INIT macro, so that a
 *    program built with an older header keeps working with a newer library.
 *  - A model may be used by any number of threads at once, a session by one thread at a time.
 *  - Strings returned belong to the model or to the library and are UTF-8.
 *  - Loading checks the file completely, but running it executes native code from it: load only
 *    files that you would also load as a shared library.
 */
#ifndef BIREME_BIREME_H_
#define BIREME_BIREME_H_

#include <stddef.h>
#include <stdint.h>

#define BIREME_VERSION_MAJOR 0
#define BIREME_VERSION_MINOR 1
#define BIREME_VERSION_PATCH 0

#if defined(__GNUC__)
#define BIREME_API __attribute__((visibility("default")))
#else
#define BIREME_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Status ---------------------------------------------------------------------------------- */

typedef struct bireme_status {
  uint32_t struct_bytes;
  int32_t code;        /* 0, or the number of an error: 5007 is printed as BM5007 */
  const char* meaning; /* what the code means in general; static */
  const char* hint;    /* what to do about it; static */
  char op[64];         /* operation of the instruction that failed, or "" */
  char node[192];      /* its names in the user's model, or "" */
  char message[320];   /* what was wrong this time: names, expected and actual values */
} bireme_status;

#define BIREME_STATUS_INIT {sizeof(bireme_status), 0, "", "", "", "", ""}

/* MAJOR * 10000 + MINOR * 100 + PATCH of the library that is linked. */
BIREME_API uint32_t bireme_version(void);

/* ---- Tensors --------------------------------------------------------------------------------- */

/* Element types. An integer and not an enum, so that any value may come in. */
typedef uint32_t bireme_dtype;
enum {
  BIREME_BOOL = 0,
  BIREME_I8 = 1,
  BIREME_U8 = 2,
  BIREME_I16 = 3,
  BIREME_U16 = 4,
  BIREME_I32 = 5,
  BIREME_U32 = 6,
  BIREME_I64 = 7,
  BIREME_U64 = 8,
  BIREME_F16 = 9,
  BIREME_BF16 = 10,
  BIREME_F32 = 11,
  BIREME_F64 = 12,
  /* One element a byte; what takes less than a byte lies in the low bits, with 0 above. */
  BIREME_F8E4M3FN = 13,
  BIREME_F8E4M3FNUZ = 14,
  BIREME_F8E5M2 = 15,
  BIREME_F8E5M2FNUZ = 16,
  BIREME_F8E8M0FNU = 17,
  BIREME_F4E2M1FN = 18,
  BIREME_I4 = 19,
  BIREME_U4 = 20,
  BIREME_I2 = 21,
  BIREME_U2 = 22
};

/* Bytes of one element, 0 if `dtype` is none of these. */
BIREME_API size_t bireme_dtype_bytes(bireme_dtype dtype);
/* "float32" and the like; "?" if `dtype` is none of these. */
BIREME_API const char* bireme_dtype_name(bireme_dtype dtype);

/* Dense, row-major tensor in the caller's memory, aligned at least to its element size. */
typedef struct bireme_tensor {
  void* data;
  size_t bytes;         /* size of the memory at `data` */
  const int64_t* shape; /* `rank` sizes */
  uint32_t rank;
  bireme_dtype dtype;
} bireme_tensor;

/* One dimension of an input or output. */
typedef struct bireme_dim {
  int64_t size;       /* or -1 if it depends on the inputs' shapes or data */
  const char* symbol; /* name, where it is a symbol itself; else NULL */
  int64_t min, max;   /* inclusive range of the symbol; max is -1 where no bound is known */
} bireme_dim;

typedef struct bireme_tensor_info {
  uint32_t struct_bytes;
  bireme_dtype dtype;
  const char* name;
  const bireme_dim* dims;
  uint32_t rank;
} bireme_tensor_info;

#define BIREME_TENSOR_INFO_INIT {sizeof(bireme_tensor_info), BIREME_BOOL, NULL, NULL, 0}

/* ---- Model ----------------------------------------------------------------------------------- */

typedef struct bireme_model bireme_model;

typedef struct bireme_load_options {
  uint32_t struct_bytes;
  uint32_t skip_weights_check; /* 1: do not hash the weights, for a faster first start */
  const char* max_isa;         /* best instruction set to use, "x86-64-v3"; NULL: the CPU's */
  uint32_t threads;            /* that look for damage, the caller's included; 0: all of the pool */
} bireme_load_options;

#define BIREME_LOAD_OPTIONS_INIT {sizeof(bireme_load_options), 0, NULL, 0}

/* Maps, checks and links an artefact. The file must not be changed while the model exists. */
BIREME_API int32_t bireme_model_load_file(const char* path, const bireme_load_options* options,
                                          bireme_model** model, bireme_status* status);

/* The same for an artefact in memory, which must stay unchanged while the model exists. Memory
 * that is not aligned to 64 bytes is copied. */
BIREME_API int32_t bireme_model_load_memory(const void* data, size_t bytes,
                                            const bireme_load_options* options,
                                            bireme_model** model, bireme_status* status);

/* Gives the model up; its sessions keep what they need. NULL is allowed. */
BIREME_API void bireme_model_free(bireme_model* model);

BIREME_API uint32_t bireme_model_input_count(const bireme_model* model);
BIREME_API uint32_t bireme_model_output_count(const bireme_model* model);
BIREME_API int32_t bireme_model_input(const bireme_model* model, uint32_t index,
                                      bireme_tensor_info* info, bireme_status* status);
BIREME_API int32_t bireme_model_output(const bireme_model* model, uint32_t index,
                                       bireme_tensor_info* info, bireme_status* status);

typedef struct bireme_model_info {
  uint32_t struct_bytes;
  const char* name;     /* of the model, or "" */
  const char* producer; /* compiler that wrote the artefact */
  const char* isa;      /* instruction set of the code in use; "" for a model without kernels */
  uint64_t weight_bytes;
  uint64_t code_bytes;              /* of the image in use */
  uint64_t arena_hint_bytes;        /* arena at the sizes the plan was optimised for */
  uint64_t arena_lower_bound_bytes; /* no plan can need less there */
} bireme_model_info;

#define BIREME_MODEL_INFO_INIT {sizeof(bireme_model_info), NULL, NULL, NULL, 0, 0, 0, 0}

BIREME_API int32_t bireme_model_describe(const bireme_model* model, bireme_model_info* info,
                                         bireme_status* status);

/* ---- Session --------------------------------------------------------------------------------- */

typedef struct bireme_session bireme_session;

typedef struct bireme_session_options {
  uint32_t struct_bytes;
  uint32_t threads; /* most threads a run uses, the caller's included; 0: the pool's size */
  uint32_t profile; /* 1: measure every instruction; 2: the calling thread's processor time */
  uint32_t trace;   /* with `profile`: keep this many events of each run, in order of their end */
} bireme_session_options;

#define BIREME_SESSION_OPTIONS_INIT {sizeof(bireme_session_options), 0, 0, 0}

/* Allocates everything the model needs if its sizes are fixed, else at the first run. */
BIREME_API int32_t bireme_session_create(bireme_model* model, const bireme_session_options* options,
                                         bireme_session** session, bireme_status* status);

/* NULL is allowed. */
BIREME_API void bireme_session_free(bireme_session* session);

/* Random numbers of a model (RandomNormal and the like, where the model itself gives no seed)
 * depend on the session's seed and on how many runs it has done since it got that: every run has
 * new ones, and the same again after the same seed, on any machine and with any number of threads.
 * A new session takes its seed from the operating system. Both are for times when no run goes on.
 */
BIREME_API int32_t bireme_session_set_seed(bireme_session* session, uint64_t seed,
                                           bireme_status* status);
/* 0 if `session` is NULL. */
BIREME_API uint64_t bireme_session_seed(const bireme_session* session);

/* Checks the shapes and dtypes of `inputs` (in the model's order; `data` is not looked at),
 * reserves the memory for a run with them, and fills `outputs` with shape, rank, dtype and bytes;
 * `data` is left alone. Where data decides a size, that size is -1 and `bytes` are enough for every
 * size it may have. Optional: run does the same. `output_count` may be 0. */
BIREME_API int32_t bireme_session_plan(bireme_session* session, const bireme_tensor* inputs,
                                       uint32_t input_count, bireme_tensor* outputs,
                                       uint32_t output_count, bireme_status* status);

/* Runs the model. For each output either `data` is NULL, and is set to memory of the session that
 * is valid until its next call, or it is the caller's memory of `bytes` bytes, at least as many as
 * plan reports. Shape, rank, dtype and bytes are filled in, as they turned out where data decides;
 * the shape belongs to the session. An output's memory must not overlap an input's. Nothing is
 * allocated where all sizes are fixed or have a bound, nor else for a shape that has been run. */
BIREME_API int32_t bireme_session_run(bireme_session* session, const bireme_tensor* inputs,
                                      uint32_t input_count, bireme_tensor* outputs,
                                      uint32_t output_count, bireme_status* status);

typedef struct bireme_memory_info {
  uint32_t struct_bytes;
  uint64_t arena_bytes;     /* intermediate tensors */
  uint64_t workspace_bytes; /* scratch memory of all threads */
  uint64_t output_bytes;    /* outputs that the session owns */
  uint64_t peak_bytes;      /* most that the session has held, bookkeeping included */
} bireme_memory_info;

#define BIREME_MEMORY_INFO_INIT {sizeof(bireme_memory_info), 0, 0, 0, 0}

BIREME_API int32_t bireme_session_memory(const bireme_session* session, bireme_memory_info* info,
                                         bireme_status* status);

/* Time of one instruction, summed over the runs of a session made with `profile`. */
typedef struct bireme_profile_entry {
  uint32_t struct_bytes;
  const char* op;     /* dialect operations, "conv+relu" */
  const char* node;   /* names in the user's model */
  const char* kernel; /* name, or "" where the instruction is not a launch */
  const char* kind; /* kind of kernel, "conv"; or "copy", "jump", "loop", "bind", "check", "draw" */
  uint64_t calls;
  uint64_t nanoseconds;
  int64_t
      operations; /* arithmetic operations, a multiply-add is two; -1: the artefact lacks them */
  int64_t bytes;  /* read and written, each tensor once; -1 likewise */
  int64_t tasks;  /* independent units of work of the last call */
} bireme_profile_entry;

#define BIREME_PROFILE_ENTRY_INIT \
  {sizeof(bireme_profile_entry), NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0}

/* Number of instructions, 0 for a session made without `profile`. */
BIREME_API uint32_t bireme_session_profile_count(const bireme_session* session);
BIREME_API int32_t bireme_session_profile(const bireme_session* session, uint32_t index,
                                          bireme_profile_entry* entry, bireme_status* status);

/* One thread's part in an instruction. Times are nanoseconds of CLOCK_MONOTONIC. */
typedef struct bireme_trace_event {
  uint32_t instruction; /* index as for bireme_session_profile */
  uint32_t worker;      /* 0 is the calling thread */
  uint64_t begin;
  uint64_t end;
} bireme_trace_event;

/* The events of the last run, valid until the next call on the session; NULL without `trace`.
 * `count` is how many there are, `missed` how many found no room. */
BIREME_API const bireme_trace_event* bireme_session_trace(const bireme_session* session,
                                                          uint32_t* count, uint64_t* missed);

/* ---- Worker pool ----------------------------------------------------------------------------- */

/* Must call body(context, w) once for every w in [0, workers), in any order and on any threads, and
 * return after the last has ended. It may be called by several threads at once. */
typedef void (*bireme_parallel_for)(void* user, void (*body)(void* context, uint32_t worker),
                                    void* context, uint32_t workers);

typedef struct bireme_pool_options {
  uint32_t struct_bytes;
  uint32_t threads;                 /* how many calls of `body` can run at the same time */
  bireme_parallel_for parallel_for; /* NULL: the runtime's own pool, with `threads` threads (0: as
                                       many as affinity and cgroup quota allow) */
  void* user;
} bireme_pool_options;

#define BIREME_POOL_OPTIONS_INIT {sizeof(bireme_pool_options), 0, NULL, NULL}

/* Replaces the process-wide pool. To be called while no session runs; sessions that exist already
 * keep their thread count. */
BIREME_API int32_t bireme_pool_set(const bireme_pool_options* options, bireme_status* status);

/* Threads of the pool, the calling thread included. */
BIREME_API uint32_t bireme_pool_threads(void);

#ifdef __cplusplus
}
#endif

#endif /* BIREME_BIREME_H_ */
