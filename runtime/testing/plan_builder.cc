#include "testing/plan_builder.h"

#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "container.h"
#include "plan.h"
#include "testing/kernels.h"
#include "xxh64.h"

namespace bireme::internal::testing {
namespace {

template <class T>
void put(Bytes& bytes, size_t at, T value) {
  memcpy(bytes.data() + at, &value, sizeof value);
}

template <class T>
T get(const Bytes& bytes, size_t at) {
  T value;
  memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

void pad(Bytes& bytes, size_t unit) { bytes.resize((bytes.size() + unit - 1) / unit * unit); }

}  // namespace

Bytes make_container(const Bytes& plan, const Bytes& code, const Bytes& weights) {
  Bytes file(kHeaderBytes);
  memcpy(file.data(), kMagic, sizeof kMagic);
  put<uint32_t>(file, 8, kFormatVersion);
  put<uint32_t>(file, 12, kHeaderBytes);
  const Bytes* sections[] = {&plan, &code, &weights};
  const size_t units[] = {8, kPageBytes, kPageBytes};
  for (int i = 0; i < 3; ++i) {
    if (!sections[i]->empty()) pad(file, units[i]);
    put<uint64_t>(file, 24 + 24 * i, file.size());
    put<uint64_t>(file, 32 + 24 * i, sections[i]->size());
    file.insert(file.end(), sections[i]->begin(), sections[i]->end());
  }
  put<uint64_t>(file, 16, file.size());
  sign(file);
  return file;
}

void sign(Bytes& artefact) {
  for (int i = 0; i < 3; ++i) {
    const auto offset = get<uint64_t>(artefact, 24 + 24 * i);
    const auto bytes = get<uint64_t>(artefact, 32 + 24 * i);
    uint64_t checksum = 0;
    if (!section_checksum(artefact.data() + offset, bytes, 1, &checksum)) abort();
    put<uint64_t>(artefact, 40 + 24 * i, checksum);
  }
  sign_header(artefact);
}

void sign_header(Bytes& artefact) { put<uint64_t>(artefact, 96, xxh64(artefact.data(), 96)); }

PlanBuilder::PlanBuilder() {
  plan.producer = "test 1";
  plan.model = "test";
  plan.target = "x86";
  constant(0);
}

uint32_t PlanBuilder::constant(int64_t value) {
  plan.scalars.emplace_back(value, 0, fb::ScalarOp::Const);
  return static_cast<uint32_t>(plan.scalars.size() - 1);
}

uint32_t PlanBuilder::symbol(const std::string& name, int64_t min, int64_t max, int64_t hint) {
  auto entry = std::make_unique<fb::SymbolT>();
  entry->name = name;
  entry->min = min;
  entry->max = max;
  entry->hint = hint;
  plan.symbols.push_back(std::move(entry));
  plan.scalars.emplace_back(static_cast<int64_t>(plan.symbols.size() - 1), 0, fb::ScalarOp::Symbol);
  return static_cast<uint32_t>(plan.scalars.size() - 1);
}

uint32_t PlanBuilder::scalar(fb::ScalarOp op, uint32_t a, uint32_t b) {
  plan.scalars.emplace_back(a, b, op);
  return static_cast<uint32_t>(plan.scalars.size() - 1);
}

uint32_t PlanBuilder::tensor(const std::string& name, fb::Place place,
                             const std::vector<uint32_t>& shape, fb::DType dtype) {
  auto entry = std::make_unique<fb::TensorT>();
  entry->name = name;
  entry->place = place;
  entry->shape = shape;
  entry->dtype = dtype;
  entry->bytes = constant(static_cast<int64_t>(dtype_bytes(dtype)));
  for (uint32_t dim : shape) entry->bytes = scalar(fb::ScalarOp::Mul, entry->bytes, dim);
  plan.tensors.push_back(std::move(entry));
  const auto index = static_cast<uint32_t>(plan.tensors.size() - 1);
  if (place == fb::Place::Input) plan.inputs.push_back(index);
  if (place == fb::Place::Output) plan.outputs.push_back(index);
  if (place == fb::Place::Arena) plan.arena_order.push_back(index);
  return index;
}

uint32_t PlanBuilder::weight(const std::string& name, const std::vector<float>& values) {
  const uint32_t size = constant(static_cast<int64_t>(values.size()));
  const uint32_t index = tensor(name, fb::Place::Weight, {size});
  pad(weights, 64);
  plan.tensors[index]->offset = weights.size();
  const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
  weights.insert(weights.end(), bytes, bytes + values.size() * sizeof(float));
  return index;
}

uint32_t PlanBuilder::view(const std::string& name, uint32_t base,
                           const std::vector<uint32_t>& shape, uint32_t offset, int32_t loop,
                           uint32_t stride, fb::DType dtype) {
  const uint32_t index = tensor(name, fb::Place::View, shape, dtype);
  plan.tensors[index]->base = base;
  plan.tensors[index]->view_offset = offset;
  plan.tensors[index]->loop = loop;
  plan.tensors[index]->loop_stride = stride;
  return index;
}

uint32_t PlanBuilder::kernel(const std::string& name) {
  auto entry = std::make_unique<fb::KernelT>();
  entry->name = name;
  entry->kind = "elementwise";
  plan.kernels.push_back(std::move(entry));
  return static_cast<uint32_t>(plan.kernels.size() - 1);
}

uint32_t PlanBuilder::source(const std::string& op, const std::string& node) {
  auto entry = std::make_unique<fb::SourceT>();
  entry->op = op;
  entry->node = node;
  plan.sources.push_back(std::move(entry));
  return static_cast<uint32_t>(plan.sources.size() - 1);
}

fb::InstructionT& PlanBuilder::add(fb::Opcode op) {
  if (plan.sources.empty()) source("op", "node");
  plan.instructions.push_back(std::make_unique<fb::InstructionT>());
  plan.instructions.back()->op = op;
  return *plan.instructions.back();
}

uint32_t PlanBuilder::launch(uint32_t kernel, const std::vector<uint32_t>& args,
                             const LaunchOptions& options) {
  fb::InstructionT& instruction = add(fb::Opcode::Launch);
  instruction.kernel = kernel;
  instruction.args = args;
  instruction.dims = options.dims;
  instruction.tasks = options.tasks;
  instruction.cost = options.cost;
  instruction.workspace = options.workspace;
  instruction.source = options.source;
  instruction.phase = options.phase;
  return static_cast<uint32_t>(plan.instructions.size() - 1);
}

void PlanBuilder::version(uint32_t instruction, uint32_t kernel, const LaunchOptions& options,
                          const std::vector<fb::Guard>& guards) {
  auto entry = std::make_unique<fb::VersionT>();
  entry->kernel = kernel;
  entry->guards = guards;
  entry->tasks = options.tasks;
  entry->workspace = options.workspace;
  entry->phase = options.phase;
  plan.instructions[instruction]->versions.push_back(std::move(entry));
}

uint32_t PlanBuilder::copy(uint32_t from, uint32_t to) {
  add(fb::Opcode::Copy).args = {from, to};
  return static_cast<uint32_t>(plan.instructions.size() - 1);
}

uint32_t PlanBuilder::jump(uint32_t target) {
  add(fb::Opcode::Jump).target = target;
  return static_cast<uint32_t>(plan.instructions.size() - 1);
}

uint32_t PlanBuilder::jump_if_false(uint32_t condition, uint32_t target) {
  fb::InstructionT& instruction = add(fb::Opcode::JumpIfFalse);
  instruction.args = {condition};
  instruction.target = target;
  return static_cast<uint32_t>(plan.instructions.size() - 1);
}

uint32_t PlanBuilder::bind(uint32_t count, uint32_t symbol, uint32_t bound) {
  fb::InstructionT& instruction = add(fb::Opcode::Bind);
  instruction.args = {count};
  instruction.symbol = static_cast<uint32_t>(plan.scalars[symbol].a());
  instruction.bound = bound;
  return static_cast<uint32_t>(plan.instructions.size() - 1);
}

uint32_t PlanBuilder::check(uint32_t a, uint32_t b) {
  add(fb::Opcode::Check).dims = {a, b};
  return static_cast<uint32_t>(plan.instructions.size() - 1);
}

uint32_t PlanBuilder::draw(uint32_t to, uint32_t stream, uint64_t seed) {
  fb::InstructionT& instruction = add(fb::Opcode::Draw);
  instruction.args = {to};
  instruction.stream = stream;
  instruction.seed = seed;
  return static_cast<uint32_t>(plan.instructions.size() - 1);
}

uint32_t PlanBuilder::add_loop(fb::Opcode op, uint32_t loop, uint32_t trip) {
  fb::InstructionT& instruction = add(op);
  instruction.loop = loop;
  instruction.trip = trip;
  return static_cast<uint32_t>(plan.instructions.size() - 1);
}

Bytes PlanBuilder::plan_bytes() const {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fb::Plan::Pack(builder, &plan));
  return Bytes(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
}

Bytes PlanBuilder::artefact() const { return make_container(plan_bytes(), code, weights); }

PlanBuilder doubling(int64_t fixed) {
  PlanBuilder b;
  const uint32_t n = fixed ? b.constant(fixed) : b.symbol("n", 1, 100, 4);
  const std::vector<uint32_t> shape = {n, b.constant(3)};
  const uint32_t x = b.tensor("x", fb::Place::Input, shape);
  const uint32_t t = b.tensor("t", fb::Place::Arena, shape);
  const uint32_t y = b.tensor("y", fb::Place::Output, shape);
  PlanBuilder::LaunchOptions options;
  options.source = b.source("add", "Add_7");
  options.tasks = b.scalar(fb::ScalarOp::Mul, shape[0], shape[1]);
  b.launch(b.kernel("double"), {x, t}, options);
  b.copy(t, y);
  return b;
}

void add_image(PlanBuilder& builder, const std::string& isa) {
  auto image = std::make_unique<fb::CodeImageT>();
  image->isa = isa;
  image->offset = builder.code.size();
  image->bytes = static_cast<uint64_t>(kernel_image_end - kernel_image);
  image->import_offset = static_cast<uint64_t>(kernel_image_table - kernel_image);
  image->imports = {"expf"};
  for (const auto& kernel : builder.plan.kernels) {
    const uint8_t* entry = kernel->name == "double" ? kernel_image_double
                           : kernel->name == "exp"  ? kernel_image_exp
                                                    : kernel_image_fault;
    image->entries.push_back(static_cast<uint64_t>(entry - kernel_image));
  }
  builder.plan.images.push_back(std::move(image));
  builder.code.insert(builder.code.end(), kernel_image, kernel_image_end);
}

}  // namespace bireme::internal::testing
