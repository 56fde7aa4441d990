// Keys that random numbers are drawn with. The numbers themselves are made by kernels.
#ifndef BIREME_RUNTIME_RANDOM_H_
#define BIREME_RUNTIME_RANDOM_H_

#include <stdint.h>

namespace bireme::internal {

// Philox4x32-10 (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), in
// place: a counter of four words, lowest first, becomes four random words.
void philox(uint32_t (&words)[4], uint64_t key);

// The key of a stream's `draw`-th draw in a run, both counted from 0.
uint64_t draw_key(uint64_t seed, uint64_t run, uint32_t stream, uint32_t draw);

// A seed that no other session has, from the operating system.
uint64_t new_seed();

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_RANDOM_H_
