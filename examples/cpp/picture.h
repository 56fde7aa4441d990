// Pictures for the example: reading a PPM file and turning it into a tensor.
#ifndef BIREME_EXAMPLES_CPP_PICTURE_H_
#define BIREME_EXAMPLES_CPP_PICTURE_H_

#include <cstdint>
#include <string>
#include <vector>

struct Picture {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> rgb;  // height x width x 3
};

// Reads a binary PPM ("P6", 8 bits for each channel). Throws std::runtime_error that names the
// file.
Picture read_ppm(const std::string& path);

// The picture as the direction classifier wants it: [3, height, width] float32 in the order blue,
// green, red, resized (bilinear) to the full height with its aspect ratio kept, at most `width`
// wide, values from [0, 255] to [-1, 1], and the rest of the width 0.
std::vector<float> to_tensor(const Picture& picture, int height, int width);

#endif  // BIREME_EXAMPLES_CPP_PICTURE_H_
