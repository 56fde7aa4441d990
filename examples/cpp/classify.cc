// classify MODEL.bireme PICTURE.ppm: which way up is a line of text?
//
// The model is the demo's text direction classifier: input [N, 3, 48, 192] float32, output [N, 2].
#include <algorithm>
#include <bireme/bireme.hpp>
#include <cstdio>
#include <exception>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "picture.h"

namespace {

constexpr int kHeight = 48;
constexpr int kWidth = 192;

std::string class_name(size_t index, size_t count) {
  if (count == 2) return index == 0 ? "0 degrees" : "180 degrees";
  return "class " + std::to_string(index);
}

// Says what is wrong with a model that this program cannot use.
void check(const bireme::Model& model) {
  const auto inputs = model.inputs();
  const auto outputs = model.outputs();
  if (inputs.size() != 1 || inputs[0].rank != 4 || inputs[0].dtype != BIREME_F32)
    throw std::runtime_error("the model must have one float32 input [N, 3, height, width]");
  if (outputs.size() != 1 || outputs[0].rank != 2 || outputs[0].dtype != BIREME_F32)
    throw std::runtime_error("the model must have one float32 output [N, classes]");
}

void classify(const char* model_path, const char* picture_path) {
  const bireme::Model model(model_path);
  check(model);
  bireme::Session session(model);
  const std::vector<float> x = to_tensor(read_ppm(picture_path), kHeight, kWidth);
  const auto outputs = session.run({bireme::tensor(x.data(), {1, 3, kHeight, kWidth})});

  const float* scores = outputs[0].data<float>();
  const size_t count = static_cast<size_t>(outputs[0].shape[1]);
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  for (size_t i = 0; i < std::min(count, size_t{5}); ++i)
    std::printf("%-12s %.4f\n", class_name(order[i], count).c_str(), scores[order[i]]);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s MODEL.bireme PICTURE.ppm\n", argv[0]);
    return 2;
  }
  try {
    classify(argv[1], argv[2]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}
