// Which of the instruction sets that artefacts carry code for this processor can execute.
#ifndef BIREME_RUNTIME_CPU_H_
#define BIREME_RUNTIME_CPU_H_

namespace bireme::internal {

// Name of the target family this runtime is built for, as Plan.target has it.
extern const char kTarget[];

// Position of an instruction set in its family, from 1; a higher one contains the lower ones. 0:
// the runtime does not know the name.
int isa_level(const char* isa);

// Name of a level, "none" for 0.
const char* isa_name(int level);

// The best level the processor and the operating system support together.
int cpu_isa_level();

}  // namespace bireme::internal

#endif  // BIREME_RUNTIME_CPU_H_
