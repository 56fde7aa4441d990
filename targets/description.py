"""What a chip is: plain data that passes and schedules decide by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class InstructionSet:
    """One level of a CPU's instruction set, and what a kernel may count on there.

    `vector_bits` is the width of a register, `registers` how many there are. `llvm` holds the
    fields of TVM's LLVM target. `instructions` names what the level has beyond plain arithmetic
    (`codegen.templates.dot` says what each means); `llvm_ir` defines a function for each, with the
    name `bireme_` and its own.
    """

    name: str
    vector_bits: int
    registers: int
    llvm: tuple[tuple[str, object], ...]
    instructions: frozenset[str] = frozenset()
    llvm_ir: str = ""

    def lanes(self, bits: int) -> int:
        """Elements of `bits` bits in one register."""
        return self.vector_bits // bits


@dataclass(frozen=True)
class Description:
    """A target. Cache sizes are in bytes and for one core; `levels` are best first.

    `reduced_levels` are the levels for artefacts that calculate in reduced precision: more than
    `levels` where some processors have instructions for it.

    `channel_block` is how many channels stand together in the blocked layout of convolutions, the
    same for all levels, so that one graph serves every level.
    """

    target: str
    chip: str
    levels: tuple[InstructionSet, ...]
    channel_block: int
    cores: int
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    gflops_core: float
    memory_gbs: float
    reduced_levels: tuple[InstructionSet, ...] = ()

    def level(self, name: str) -> InstructionSet:
        """The level of this name, which must be one of the target's."""
        known = (*self.levels, *self.reduced_levels)
        return next(level for level in known if level.name == name)

    @property
    def multiplies_bf16(self) -> bool:
        """Whether the best processors it is for have dot products of bfloat16."""
        return any("dot_bf16" in level.instructions for level in self.reduced_levels)
