"""What a kernel is checked with: operands, and the results that the reference has for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bireme.codegen.spec import KernelSpec
from bireme.ir import Array, evaluate
from bireme.ir.data import random_arrays
from bireme.ir.reference import run


@dataclass(frozen=True)
class Case:
    """Operands of a kernel, and the results that they must give, both in order."""

    operands: tuple[Array, ...]
    expected: tuple[Array, ...]


def case_of(
    spec: KernelSpec, sizes: Sequence[int], weights: Mapping[int, Array], seed: int
) -> Case:
    """Operands where the kernel's symbols `s0, s1, ...` have `sizes`, and the results by the
    reference interpreter, the specification of every op.

    `weights` are operands that are known, by their number: kernels rely on what the graph does to
    weights, such as channels that are filled up with zeros, or filters that are transformed. The
    others are made up. Raises BM6003 where the reference cannot calculate with them.
    """
    graph = spec.graph()
    env = {f"s{number}": size for number, size in enumerate(sizes)}
    types = [value.type for value in graph.inputs]
    shapes = [tuple(evaluate(d, env) for d in kind.shape) for kind in types]
    made_up = [
        (graph.input_names[n], types[n].dtype.numpy, shapes[n])
        for n in range(len(types))
        if n not in weights
    ]
    feed = random_arrays(made_up, seed=seed)
    for number, array in weights.items():
        data = np.ascontiguousarray(array).view(types[number].dtype.numpy)
        feed[graph.input_names[number]] = data.reshape(shapes[number])
    ordered = {name: feed[name] for name in graph.input_names}
    return Case(tuple(ordered.values()), tuple(run(graph, ordered).values()))
