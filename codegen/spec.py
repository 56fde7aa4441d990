"""A kernel's specification: the fused group by itself, in a form that equal groups share.

The text is a module whose function is the group's region, with inputs named `a0, a1, ...`, symbols
named `s0, s1, ...` and constants `c0, c1, ...` in order of appearance, and no source locations.
Layers that differ only in names have equal text, so they share one kernel; the text, with the
values of the constants inside, is also the key of the kernel cache and all that a compile worker
needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bireme.ir import Array, Block, Builder, Dim, Graph, Op, SymbolRange, TensorType, Value, symbol
from bireme.ir.dims import substitute, symbols_of
from bireme.ir.opdef import AttrKind


@dataclass(frozen=True, eq=False)
class KernelSpec:
    """See the module's docstring. `symbols` lists the original names of `s0, s1, ...`."""

    text: str
    weights: Mapping[str, Array]
    symbols: tuple[str, ...]

    @property
    def key(self) -> str:
        """Digest of everything that decides the kernel's code."""
        digest = hashlib.sha256(self.text.encode())
        for name, array in self.weights.items():
            digest.update(f"{name}:{array.dtype}:{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def graph(self) -> Graph:
        return Graph.parse(self.text, self.weights)


def kernel_spec(kernel: Op, sizes: Mapping[str, int] | None = None) -> KernelSpec:
    """The specification of a `kernel` op, with symbols in `sizes` replaced by numbers.

    Every symbol keeps its number and its entry in `symbols`: whatever the sizes, the kernel is
    called in the same way.
    """
    sizes = sizes or {}
    (block,) = kernel.blocks
    names = _symbols(block)
    renaming: dict[str, Dim] = {
        name: sizes.get(name, symbol(f"s{i}")) for i, name in enumerate(names)
    }
    graph = Graph("kernel")
    values: dict[Value, Value] = {}
    for i, argument in enumerate(block.arguments):
        values[argument] = graph.add_input(f"a{i}", _renamed(argument.type, renaming))
    kept = {f"s{i}" for i, name in enumerate(names) if name not in sizes}
    for name in sorted(kept - set(graph.symbols)):
        graph.set_symbol(name, SymbolRange())  # no input has it: the kernel takes it as a number
    builder = Builder(graph)
    constants = 0
    for op in block.ops:
        attrs = _renamed_attrs(op, renaming)
        if op.name == "constant":
            data = op.result.constant
            attrs["name"] = graph.add_weight(data, f"c{constants}")  # type: ignore[arg-type]
            constants += 1
        made = builder.op(op.name, [values[v] for v in op.operands], **attrs)
        values.update(zip(op.results, made.results, strict=True))
    graph.set_outputs([(f"r{i}", values[v]) for i, v in enumerate(block.yields)])
    return KernelSpec(graph.text(), graph.weights, tuple(names))


def _symbols(block: Block) -> list[str]:
    """Names of the symbols in a block's types and attributes, in order of appearance."""
    found: dict[str, None] = {}
    dims: list[Dim] = [d for v in block.arguments for d in v.type.shape]
    for op in block.ops:
        dims += [d for v in op.results for d in v.type.shape]
        dims += [d for name in _dims_attrs(op) for d in op.attrs[name]]
    for dim in dims:
        found.update(dict.fromkeys(sorted(symbols_of(dim))))
    return list(found)


def _dims_attrs(op: Op) -> list[str]:
    return [a.name for a in op.definition.attrs if a.kind is AttrKind.DIMS]


def _renamed(tensor: TensorType, names: Mapping[str, Dim]) -> TensorType:
    return tensor.with_shape([substitute(d, names) for d in tensor.shape])


def _renamed_attrs(op: Op, names: Mapping[str, Dim]) -> dict[str, Any]:
    attrs = dict(op.attrs)
    for name in _dims_attrs(op):
        attrs[name] = tuple(substitute(d, names) for d in attrs[name])
    return attrs
