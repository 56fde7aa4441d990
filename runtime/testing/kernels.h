// Kernels for tests: machine code as an artefact carries it, assembled into this binary as data.
#ifndef BIREME_RUNTIME_TESTING_KERNELS_H_
#define BIREME_RUNTIME_TESTING_KERNELS_H_

#include <stdint.h>

extern "C" {
extern const uint8_t kernel_image[] __attribute__((visibility("hidden")));
extern const uint8_t kernel_image_double[] __attribute__((visibility("hidden")));
extern const uint8_t kernel_image_exp[] __attribute__((visibility("hidden")));
extern const uint8_t kernel_image_fault[] __attribute__((visibility("hidden")));
extern const uint8_t kernel_image_table[] __attribute__((visibility("hidden")));
extern const uint8_t kernel_image_end[] __attribute__((visibility("hidden")));
}

#endif  // BIREME_RUNTIME_TESTING_KERNELS_H_
