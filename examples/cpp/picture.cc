#include "picture.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fstream>
#include <limits>
#include <stdexcept>

namespace {

constexpr int kMaxSide = 1 << 15;

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw std::runtime_error(path + ": " + reason);
}

// The next number of a PPM header; comments run from '#' to the end of the line.
int read_number(std::istream& file) {
  while (std::isspace(file.peek()) || file.peek() == '#') {
    if (file.peek() == '#')
      file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
    else
      file.get();
  }
  int number = -1;
  file >> number;
  return file ? number : -1;
}

// Two pixels of the source and how much the second counts.
struct Tap {
  int first, second;
  float weight;
};

// Pixel centres lie at halves, so that a picture resized to its own size stays as it is.
std::vector<Tap> make_taps(int from, int to) {
  std::vector<Tap> taps;
  for (int i = 0; i < to; ++i) {
    const float at = (static_cast<float>(i) + 0.5f) * from / to - 0.5f;
    const float clamped = std::clamp(at, 0.0f, static_cast<float>(from - 1));
    const int first = static_cast<int>(clamped);
    taps.push_back({first, std::min(first + 1, from - 1), clamped - first});
  }
  return taps;
}

}  // namespace

Picture read_ppm(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) refuse(path, "cannot be opened");
  char mark[2] = {};
  file.read(mark, 2);
  if (mark[0] != 'P' || mark[1] != '6') refuse(path, "is not a binary PPM picture (P6)");
  Picture picture;
  picture.width = read_number(file);
  picture.height = read_number(file);
  const int largest = read_number(file);
  if (picture.width < 1 || picture.height < 1 || picture.width > kMaxSide ||
      picture.height > kMaxSide)
    refuse(path, "has no usable size");
  if (largest != 255) refuse(path, "does not have 8 bits for each channel");
  file.get();  // the one white-space character before the pixels
  const size_t bytes = size_t{3} * picture.width * picture.height;
  picture.rgb.resize(bytes);
  file.read(reinterpret_cast<char*>(picture.rgb.data()), static_cast<std::streamsize>(bytes));
  if (static_cast<size_t>(file.gcount()) != bytes) refuse(path, "ends before its last pixel");
  return picture;
}

std::vector<float> to_tensor(const Picture& picture, int height, int width) {
  const double ratio = static_cast<double>(picture.width) / picture.height;
  const int used = std::clamp(static_cast<int>(std::ceil(height * ratio)), 1, width);
  const std::vector<Tap> rows = make_taps(picture.height, height);
  const std::vector<Tap> columns = make_taps(picture.width, used);
  std::vector<float> tensor(size_t{3} * height * width, 0.0f);
  const auto pixel = [&](int y, int x, int channel) {
    return static_cast<float>(
        picture.rgb[(static_cast<size_t>(y) * picture.width + x) * 3 + channel]);
  };
  const auto mix = [](float a, float b, float weight) { return a + (b - a) * weight; };
  for (int channel = 0; channel < 3; ++channel) {
    for (int y = 0; y < height; ++y) {
      float* out = &tensor[(static_cast<size_t>(channel) * height + y) * width];
      const Tap& r = rows[y];
      for (int x = 0; x < used; ++x) {
        const Tap& c = columns[x];
        const int source = 2 - channel;  // red, green, blue -> blue, green, red
        const float top =
            mix(pixel(r.first, c.first, source), pixel(r.first, c.second, source), c.weight);
        const float bottom =
            mix(pixel(r.second, c.first, source), pixel(r.second, c.second, source), c.weight);
        out[x] = mix(top, bottom, r.weight) / 127.5f - 1.0f;
      }
    }
  }
  return tensor;
}
