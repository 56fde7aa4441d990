#include "model.h"

#include <gtest/gtest.h>
#include <string.h>

#include <random>
#include <string>

#include "session.h"
#include "testing/plan_builder.h"

namespace bireme::internal {
namespace {

using testing::Bytes;

Bytes small_artefact() {
  testing::PlanBuilder b = testing::doubling();
  testing::add_image(b);
  b.weight("w", std::vector<float>(16, 1.0f));
  return b.artefact();
}

// Loads bytes that nothing but the loader sees; plans a session too where they are accepted, since
// that is where sizes are used. Never runs: the code may be damaged.
Code load(const Bytes& bytes) {
  const Bytes copy(bytes);
  Fault fault = BIREME_STATUS_INIT;
  Model* model = nullptr;
  const Code code = Model::load_memory(copy.data(), copy.size(), {}, &model, fault);
  if (code != Code::ok) {
    EXPECT_STRNE(fault.message, "");
    EXPECT_STRNE(fault.hint, "");
    return code;
  }
  Session* session = nullptr;
  if (Session::create(*model, 1, false, &session, fault) == Code::ok) {
    const int64_t shape[] = {2, 3};
    const bireme_tensor input = {nullptr, 0, shape, 2, BIREME_F32};
    (void)session->plan(&input, 1, nullptr, 0, fault);
    destroy_object(session);
  }
  model->release();
  return code;
}

TEST(Model, Loads) { EXPECT_EQ(load(small_artefact()), Code::ok); }

TEST(Model, RefusesEveryFlippedByteButPadding) {
  const Bytes file = small_artefact();
  uint64_t plan_bytes, code_offset;
  memcpy(&plan_bytes, &file[32], 8);
  memcpy(&code_offset, &file[48], 8);
  for (size_t at = 0; at < file.size(); ++at) {
    // The code is one run of the checksum; a sample of it is enough.
    if (at > code_offset && at % 61 != 0) continue;
    const bool padding = at >= 128 + plan_bytes && at < code_offset;
    Bytes flipped = file;
    flipped[at] ^= 0xFF;
    EXPECT_EQ(load(flipped) == Code::ok, padding) << at;
  }
}

TEST(Model, RefusesEveryTruncation) {
  const Bytes file = small_artefact();
  for (size_t size = 0; size < file.size(); size += size < 2000 ? 1 : 101)
    EXPECT_NE(load(Bytes(file.begin(), file.begin() + static_cast<long>(size))), Code::ok) << size;
}

// Damage that a hostile writer signs: checksums are right, so the verifier is what stands between
// the bytes and the process. Accepting is allowed, crashing is what a sanitizer would report.
TEST(Model, SurvivesSignedDamage) {
  const Bytes file = small_artefact();
  uint64_t plan_bytes;
  memcpy(&plan_bytes, &file[32], 8);
  int refused = 0;
  for (uint64_t at = 128; at < 128 + plan_bytes; ++at) {
    for (uint8_t change : {0x01, 0x80, 0xFF}) {
      Bytes damaged = file;
      damaged[at] ^= change;
      testing::sign(damaged);
      refused += load(damaged) != Code::ok;
    }
  }
  EXPECT_GT(refused, static_cast<int>(plan_bytes));  // at least a third
}

TEST(Model, SurvivesSignedNoise) {
  const Bytes file = small_artefact();
  uint64_t plan_bytes;
  memcpy(&plan_bytes, &file[32], 8);
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    Bytes damaged = file;
    for (int k = 0; k < 4; ++k) {
      const uint64_t at = 128 + random() % (plan_bytes - 4);
      const uint32_t interesting[] = {0,          1,          0xFFFFFFFF,
                                      0x7FFFFFFF, 0x80000000, static_cast<uint32_t>(random())};
      memcpy(&damaged[at], &interesting[random() % 6], 4);
    }
    testing::sign(damaged);
    (void)load(damaged);
  }
}

TEST(Model, DescribesDimensions) {
  testing::PlanBuilder b;
  const uint32_t n = b.symbol("n", 2, 9);
  const uint32_t half = b.scalar(fb::ScalarOp::FloorDiv, n, b.constant(2));
  const uint32_t six = b.scalar(fb::ScalarOp::Mul, b.constant(2), b.constant(3));
  b.tensor("x", fb::Place::Input, {n, half, six});
  const Bytes file = b.artefact();
  Fault fault = BIREME_STATUS_INIT;
  Model* model = nullptr;
  ASSERT_EQ(Model::load_memory(file.data(), file.size(), {}, &model, fault), Code::ok);
  const bireme_dim* dims = model->dims(0);
  EXPECT_STREQ(dims[0].symbol, "n");
  EXPECT_EQ(dims[0].size, -1);
  EXPECT_EQ(dims[0].min, 2);
  EXPECT_EQ(dims[0].max, 9);
  EXPECT_EQ(dims[1].symbol, nullptr);
  EXPECT_EQ(dims[1].size, -1);
  EXPECT_EQ(dims[2].size, 6);
  model->release();
}

}  // namespace
}  // namespace bireme::internal
