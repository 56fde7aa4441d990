"""Instruction-set levels of x86-64, as the psABI names them."""

from __future__ import annotations

from bireme.targets.description import Description, InstructionSet


def _level(name: str, vector_bits: int, registers: int) -> InstructionSet:
    llvm = (("kind", "llvm"), ("mtriple", "x86_64-linux-gnu"), ("mcpu", name))
    return InstructionSet(name, vector_bits, registers, llvm)


# Best first: the loader takes the first that the CPU has.
LEVELS = (
    _level("x86-64-v4", 512, 32),
    _level("x86-64-v3", 256, 16),
    _level("x86-64-v2", 128, 16),
)

GENERIC = Description(
    target="x86",
    chip="generic",
    levels=LEVELS,
    channel_block=16,
    cores=4,
    l1_bytes=32 << 10,
    l2_bytes=512 << 10,
    l3_bytes=8 << 20,
    gflops_core=50.0,
    memory_gbs=20.0,
)
