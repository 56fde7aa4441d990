// How many threads this process may keep busy.
#ifndef BIREME_RUNTIME_AFFINITY_H_
#define BIREME_RUNTIME_AFFINITY_H_

#include <stddef.h>
#include <stdint.h>

namespace bireme::internal {

// CPUs of the affinity mask, or what the cgroup's CPU quota allows if that is less; at least 1.
uint32_t usable_cpus();

// CPUs that the contents of a cgroup v2 `cpu.max` file ("150000 100000", "max 100000") allow,
// rounded up; 0 where they set no limit or are not understood.
uint32_t parse_cpu_max(const char* text);

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_AFFINITY_H_
