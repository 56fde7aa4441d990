"""What a kernel is checked with: operands, and the results that the reference has for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bireme.codegen.data import random_arrays
from bireme.codegen.spec import KernelSpec
from bireme.ir import Array, evaluate
from bireme.ir.reference import run


@dataclass(frozen=True)
class Case:
    """Operands of a kernel, and the results that they must give, both in order."""

    operands: tuple[Array, ...]
    expected: tuple[Array, ...]


def case_of(spec: KernelSpec, sizes: Sequence[int], seed: int) -> Case:
    """Made-up operands where the kernel's symbols `s0, s1, ...` have `sizes`, and the results by
    the reference interpreter, the specification of every op.

    Raises BM6003 where the reference cannot calculate with them.
    """
    graph = spec.graph()
    env = {f"s{number}": size for number, size in enumerate(sizes)}
    inputs = [
        (name, value.type.dtype.numpy, tuple(evaluate(d, env) for d in value.type.shape))
        for name, value in zip(graph.input_names, graph.inputs, strict=True)
    ]
    feed = random_arrays(inputs, seed=seed)
    return Case(tuple(feed.values()), tuple(run(graph, feed).values()))
