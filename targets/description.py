"""What a chip is: plain data that passes and schedules decide by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class InstructionSet:
    """One level of a CPU's instruction set, and what a kernel may count on there.

    `vector_bits` is the width of a register, `registers` how many there are. `llvm` holds the
    fields of TVM's LLVM target.
    """

    name: str
    vector_bits: int
    registers: int
    llvm: tuple[tuple[str, object], ...]

    def lanes(self, bits: int) -> int:
        """Elements of `bits` bits in one register."""
        return self.vector_bits // bits


@dataclass(frozen=True)
class Description:
    """A target. Cache sizes are in bytes and for one core; `levels` are best first.

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
