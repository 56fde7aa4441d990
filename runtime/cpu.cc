#include "cpu.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace bireme::internal {

#if defined(__x86_64__)

const char kTarget[] = "x86";

namespace {

constexpr const char* kIsas[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v4-bf16"};

// Bits of CPUID that each level adds (x86-64 psABI, table 3.1; the last level is ours).
struct Registers {
  uint32_t leaf1_ecx, leaf7_ebx, leaf7_1_eax, extended_ecx;
  uint64_t xcr0;  // register state that the operating system saves
};
constexpr uint32_t bit(int i) { return 1u << i; }
constexpr Registers kNeeds[] = {
    // SSE3 SSSE3 CMPXCHG16B SSE4.1 SSE4.2 POPCNT, LAHF; XMM state
    {bit(0) | bit(9) | bit(13) | bit(19) | bit(20) | bit(23), 0, 0, bit(0), 0},
    // FMA MOVBE OSXSAVE AVX F16C, BMI1 AVX2 BMI2, LZCNT; XMM and YMM state
    {bit(12) | bit(22) | bit(27) | bit(28) | bit(29), bit(3) | bit(5) | bit(8), 0, bit(5), 0x06},
    // AVX512 F DQ CD BW VL; opmask and ZMM state
    {0, bit(16) | bit(17) | bit(28) | bit(30) | bit(31), 0, 0, 0xE6},
    // AVX512_BF16
    {0, 0, bit(5), 0, 0},
};

Registers read_registers() {
  Registers r = {};
  uint32_t a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d)) r.leaf1_ecx = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    r.leaf7_ebx = b;
    const bool more = a >= 1;  // sub-leaves of leaf 7
    if (more && __get_cpuid_count(7, 1, &a, &b, &c, &d)) r.leaf7_1_eax = a;
  }
  if (__get_cpuid(0x80000001, &a, &b, &c, &d)) r.extended_ecx = c;
  if (r.leaf1_ecx & bit(27)) {  // OSXSAVE: XGETBV may be executed
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    r.xcr0 = uint64_t{high} << 32 | low;
  }
  return r;
}

}  // namespace

int cpu_isa_level() {
  const Registers has = read_registers();
  int level = 0;
  for (const Registers& need : kNeeds) {
    if ((has.leaf1_ecx & need.leaf1_ecx) != need.leaf1_ecx ||
        (has.leaf7_ebx & need.leaf7_ebx) != need.leaf7_ebx ||
        (has.leaf7_1_eax & need.leaf7_1_eax) != need.leaf7_1_eax ||
        (has.extended_ecx & need.extended_ecx) != need.extended_ecx ||
        (has.xcr0 & need.xcr0) != need.xcr0)
      break;
    ++level;
  }
  return level;
}

int isa_level(const char* isa) {
  int level = 0;
  for (const char* name : kIsas) {
    ++level;
    if (strcmp(name, isa) == 0) return level;
  }
  return 0;
}

const char* isa_name(int level) { return level > 0 ? kIsas[level - 1] : "none"; }

#else

const char kTarget[] = "none";
int isa_level(const char*) { return 0; }
const char* isa_name(int) { return "none"; }
int cpu_isa_level() { return 0; }

#endif

}  // namespace bireme::internal
