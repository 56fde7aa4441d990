"""x86-64 chips and their instruction-set levels, as the psABI names them."""

from __future__ import annotations

from dataclasses import replace

from bireme.targets.description import Description, InstructionSet
from bireme.targets.x86.instructions import AVX512_BF16


def _level(name: str, vector_bits: int, registers: int) -> InstructionSet:
    llvm = (("kind", "llvm"), ("mtriple", "x86_64-linux-gnu"), ("mcpu", name))
    return InstructionSet(name, vector_bits, registers, llvm)


def _with_bf16(level: InstructionSet) -> InstructionSet:
    """The level with AVX512_BF16: dot products of bfloat16 and conversions to it."""
    return replace(
        level,
        name=f"{level.name}-bf16",
        llvm=(*level.llvm, ("mattr", ("+avx512bf16",))),
        instructions=frozenset(AVX512_BF16),
        llvm_ir="".join(AVX512_BF16.values()),
    )


# Best first: the loader takes the first that the CPU has.
LEVELS = (
    _level("x86-64-v4", 512, 32),
    _level("x86-64-v3", 256, 16),
    _level("x86-64-v2", 128, 16),
)
V4_BF16 = _with_bf16(LEVELS[0])

CHIPS = {
    # One artefact for every PC and server since 2009: three levels, chosen when it is loaded.
    "generic": Description(
        target="x86",
        chip="generic",
        levels=LEVELS,
        reduced_levels=(V4_BF16, *LEVELS),
        channel_block=16,
        cores=4,
        l1_bytes=32 << 10,
        l2_bytes=512 << 10,
        l3_bytes=8 << 20,
        gflops_core=50.0,
        memory_gbs=20.0,
    ),
    # AMD EPYC and Ryzen with Zen 4 cores: smaller artefact, faster compilation.
    "znver4": Description(
        target="x86",
        chip="znver4",
        levels=LEVELS[:1],
        reduced_levels=(V4_BF16,),
        channel_block=16,
        cores=8,
        l1_bytes=32 << 10,
        l2_bytes=1 << 20,
        l3_bytes=16 << 20,
        gflops_core=117.0,
        memory_gbs=28.0,
    ),
}
