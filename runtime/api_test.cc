// The C interface as a C program sees it.
#include <gtest/gtest.h>
#include <string.h>

#include <string>
#include <vector>

#include "bireme/bireme.h"
#include "testing/plan_builder.h"

namespace {

using bireme::internal::testing::Bytes;

Bytes artefact() {
  auto b = bireme::internal::testing::doubling();
  bireme::internal::testing::add_image(b);
  return b.artefact();
}

class Api : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(bireme_model_load_memory(file.data(), file.size(), nullptr, &model, &status), 0)
        << status.message;
    ASSERT_EQ(bireme_session_create(model, nullptr, &session, &status), 0);
  }
  void TearDown() override {
    bireme_session_free(session);
    bireme_model_free(model);
  }

  const Bytes file = artefact();
  bireme_status status = BIREME_STATUS_INIT;
  bireme_model* model = nullptr;
  bireme_session* session = nullptr;
  const int64_t shape[2] = {1, 3};
  float x[3] = {1, 2, 3};
  bireme_tensor input = {x, sizeof x, shape, 2, BIREME_F32};
  bireme_tensor output = {};
};

TEST_F(Api, RunsTheCodeOfTheArtefact) {
  ASSERT_EQ(bireme_session_run(session, &input, 1, &output, 1, &status), 0) << status.message;
  EXPECT_EQ(static_cast<float*>(output.data)[2], 6.0f);
  EXPECT_EQ(output.bytes, 12u);
}

TEST_F(Api, SessionsOutliveTheHandleOfTheirModel) {
  bireme_model_free(model);
  model = nullptr;
  EXPECT_EQ(bireme_session_run(session, &input, 1, &output, 1, &status), 0);
}

TEST_F(Api, StatusIsOptionalAndComplete) {
  EXPECT_EQ(bireme_session_run(session, &input, 0, &output, 1, nullptr), 5003);
  EXPECT_EQ(bireme_session_run(session, &input, 0, &output, 1, &status), 5003);
  EXPECT_EQ(status.code, 5003);
  EXPECT_STRNE(status.hint, "");
  // A success clears what an earlier call has left.
  EXPECT_EQ(bireme_session_run(session, &input, 1, &output, 1, &status), 0);
  EXPECT_EQ(status.code, 0);
  EXPECT_STREQ(status.message, "");
}

TEST_F(Api, OlderStructsAreFilledOnlyAsFarAsTheyReach) {
  struct {
    bireme_status status;
    char guard[4];
  } old = {BIREME_STATUS_INIT, "abc"};
  old.status.struct_bytes = offsetof(bireme_status, op);
  memset(old.status.op, 'x', sizeof old.status.op);
  EXPECT_EQ(bireme_session_run(session, &input, 0, &output, 1, &old.status), 5003);
  EXPECT_EQ(old.status.code, 5003);
  EXPECT_EQ(old.status.op[0], 'x');
  EXPECT_EQ(old.status.struct_bytes, offsetof(bireme_status, op));

  bireme_tensor_info info = BIREME_TENSOR_INFO_INIT;
  info.struct_bytes = offsetof(bireme_tensor_info, dims);
  info.rank = 99;
  EXPECT_EQ(bireme_model_input(model, 0, &info, &status), 0);
  EXPECT_STREQ(info.name, "x");
  EXPECT_EQ(info.rank, 99u);

  bireme_load_options options = BIREME_LOAD_OPTIONS_INIT;
  options.max_isa = "nonsense";
  options.struct_bytes = offsetof(bireme_load_options, max_isa);  // so it must not be looked at
  bireme_model* second = nullptr;
  EXPECT_EQ(bireme_model_load_memory(file.data(), file.size(), &options, &second, &status), 0);
  bireme_model_free(second);
}

TEST_F(Api, NewerStructsAreAccepted) {
  struct {
    bireme_tensor_info info;
    uint64_t field_of_the_future;
  } newer = {BIREME_TENSOR_INFO_INIT, 42};
  newer.info.struct_bytes = sizeof newer;
  EXPECT_EQ(bireme_model_input(model, 0, &newer.info, &status), 0);
  EXPECT_EQ(newer.info.rank, 2u);
  EXPECT_EQ(newer.field_of_the_future, 42u);
}

TEST_F(Api, Describes) {
  EXPECT_EQ(bireme_version(), 100u);
  EXPECT_EQ(bireme_model_input_count(model), 1u);
  EXPECT_EQ(bireme_model_output_count(model), 1u);
  bireme_tensor_info info = BIREME_TENSOR_INFO_INIT;
  ASSERT_EQ(bireme_model_output(model, 0, &info, &status), 0);
  EXPECT_STREQ(info.name, "y");
  EXPECT_EQ(info.dtype, BIREME_F32);
  EXPECT_STREQ(info.dims[0].symbol, "n");
  EXPECT_EQ(info.dims[1].size, 3);
  EXPECT_EQ(bireme_model_output(model, 1, &info, &status), 5002);
  bireme_model_info about = BIREME_MODEL_INFO_INIT;
  ASSERT_EQ(bireme_model_describe(model, &about, &status), 0);
  EXPECT_STREQ(about.isa, "x86-64-v2");
  EXPECT_EQ(about.code_bytes, 8192u);
  EXPECT_EQ(bireme_dtype_bytes(BIREME_BF16), 2u);
  EXPECT_EQ(bireme_dtype_bytes(BIREME_U2), 1u);
  EXPECT_STREQ(bireme_dtype_name(BIREME_F8E5M2), "float8_e5m2");
  EXPECT_STREQ(bireme_dtype_name(BIREME_U2), "uint2");
  EXPECT_STREQ(bireme_dtype_name(BIREME_F64), "float64");
  EXPECT_EQ(bireme_dtype_bytes(23), 0u);
  EXPECT_STREQ(bireme_dtype_name(23), "?");
}

TEST_F(Api, NullArgumentsAreErrors) {
  EXPECT_EQ(bireme_model_load_file(nullptr, nullptr, &model, &status), 5002);
  EXPECT_STREQ(status.message, "path is null");
  EXPECT_EQ(bireme_model_load_file("x", nullptr, nullptr, &status), 5002);
  EXPECT_EQ(bireme_model_load_memory(nullptr, 1, nullptr, &model, &status), 5002);
  EXPECT_EQ(bireme_model_load_memory(x, 1, nullptr, nullptr, &status), 5002);
  EXPECT_EQ(bireme_model_input(nullptr, 0, nullptr, &status), 5002);
  EXPECT_EQ(bireme_model_input(model, 0, nullptr, &status), 5002);
  EXPECT_EQ(bireme_model_output(nullptr, 0, nullptr, &status), 5002);
  EXPECT_EQ(bireme_model_describe(nullptr, nullptr, &status), 5002);
  EXPECT_EQ(bireme_model_describe(model, nullptr, &status), 5002);
  EXPECT_EQ(bireme_session_create(nullptr, nullptr, &session, &status), 5002);
  EXPECT_EQ(bireme_session_create(model, nullptr, nullptr, &status), 5002);
  EXPECT_EQ(bireme_session_plan(nullptr, nullptr, 0, nullptr, 0, &status), 5002);
  EXPECT_EQ(bireme_session_plan(session, nullptr, 1, nullptr, 0, &status), 5002);
  EXPECT_EQ(bireme_session_run(nullptr, nullptr, 0, nullptr, 0, &status), 5002);
  EXPECT_EQ(bireme_session_run(session, nullptr, 1, &output, 1, &status), 5002);
  EXPECT_EQ(bireme_session_run(session, &input, 1, nullptr, 1, &status), 5002);
  input.shape = nullptr;
  EXPECT_EQ(bireme_session_run(session, &input, 1, &output, 1, &status), 5002);
  EXPECT_EQ(bireme_session_set_seed(nullptr, 1, &status), 5002);
  EXPECT_EQ(bireme_session_seed(nullptr), 0u);
  EXPECT_EQ(bireme_session_memory(nullptr, nullptr, &status), 5002);
  EXPECT_EQ(bireme_session_memory(session, nullptr, &status), 5002);
  EXPECT_EQ(bireme_session_profile(nullptr, 0, nullptr, &status), 5002);
  EXPECT_EQ(bireme_session_profile(session, 0, nullptr, &status), 5002);
  EXPECT_EQ(bireme_pool_set(nullptr, &status), 5002);
  EXPECT_EQ(bireme_model_input_count(nullptr), 0u);
  EXPECT_EQ(bireme_session_profile_count(nullptr), 0u);
  bireme_model_free(nullptr);
  bireme_session_free(nullptr);
}

TEST_F(Api, LoadErrorsLeaveTheHandleAlone) {
  bireme_model* untouched = model;
  EXPECT_EQ(bireme_model_load_file("/nowhere", nullptr, &untouched, &status), 4001);
  EXPECT_EQ(untouched, model);
  EXPECT_STREQ(status.message, "/nowhere: No such file or directory");
}

}  // namespace
