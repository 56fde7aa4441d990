#include "affinity.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

namespace bireme::internal {
namespace {

// Reads a small file as a string; false if that is not possible.
bool read_file(const char* path, char* text, size_t capacity) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const ssize_t bytes = read(file, text, capacity - 1);
  close(file);
  if (bytes < 0) return false;
  text[bytes] = 0;
  return true;
}

uint32_t quota_of(long long quota, long long period) {
  if (quota <= 0 || period <= 0) return 0;
  const long long cpus = quota / period + (quota % period != 0);
  return cpus > UINT16_MAX ? UINT16_MAX : static_cast<uint32_t>(cpus);
}

uint32_t smaller_limit(uint32_t a, uint32_t b) {
  if (a == 0 || b == 0) return a + b;
  return a < b ? a : b;
}

// Line of /proc/self/cgroup ("ID:CONTROLLERS:PATH") for `controllers`: its PATH, or null.
char* find_cgroup(char* lines, const char* controllers) {
  char* rest = nullptr;
  for (char* line = strtok_r(lines, "\n", &rest); line; line = strtok_r(nullptr, "\n", &rest)) {
    char* names = strchr(line, ':');
    char* path = names ? strchr(names + 1, ':') : nullptr;
    if (!path) continue;
    *path = 0;
    if (strcmp(names + 1, controllers) == 0) return path + 1;
  }
  return nullptr;
}

// Smallest limit of a cgroup and those around it. In a container the group's own path often does
// not exist below the mount point; the root of the mount is then the group itself.
uint32_t cgroup_v2_limit() {
  char lines[4096], text[64], path[PATH_MAX];
  if (!read_file("/proc/self/cgroup", lines, sizeof lines)) return 0;
  char* group = find_cgroup(lines, "");
  if (!group) return 0;
  uint32_t limit = 0;
  while (true) {
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", strcmp(group, "/") == 0 ? "" : group);
    if (read_file(path, text, sizeof text)) limit = smaller_limit(limit, parse_cpu_max(text));
    char* last = strrchr(group, '/');
    if (!last || group[1] == 0) return limit;
    last[last == group] = 0;  // one level up; "/" remains at the root
  }
}

uint32_t cgroup_v1_limit() {
  char quota[32], period[32];
  if (!read_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota, sizeof quota) ||
      !read_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period, sizeof period))
    return 0;
  return quota_of(atoll(quota), atoll(period));
}

uint32_t affinity_count() {
  cpu_set_t set;  // 1,024 CPUs; on a larger machine the call fails and all CPUs are counted
  if (sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<uint32_t>(CPU_COUNT(&set));
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? static_cast<uint32_t>(online) : 1;
}

}  // namespace

uint32_t parse_cpu_max(const char* text) {
  char* rest;
  const long long quota = strtoll(text, &rest, 10);
  return rest == text ? 0 : quota_of(quota, atoll(rest));
}

uint32_t usable_cpus() {
  const uint32_t limit = smaller_limit(cgroup_v2_limit(), cgroup_v1_limit());
  const uint32_t cpus = smaller_limit(affinity_count(), limit);
  return cpus ? cpus : 1;
}

}  // namespace bireme::internal
