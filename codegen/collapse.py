"""Merging axes of element-wise groups: `relu` on [n, c, h, w] is `relu` on one axis.

Memory is the same, only its description changes, so fewer loops and fewer distinct kernels remain.
"""

from __future__ import annotations

from itertools import groupby

from bireme.ir import Builder, Dim, Fusion, Graph, TensorType, Value, product


def collapse(graph: Graph) -> Graph:
    """`graph` with merged axes when all its ops are element-wise; otherwise `graph` itself."""
    ops = graph.body.ops
    shape = graph.outputs[0].type.shape
    if not all(op.definition.fusion is Fusion.POINTWISE or _is_scalar(op.results) for op in ops):
        return graph
    if any(v.type.shape != shape for v in graph.outputs):
        return graph
    groups = _groups(shape, [v.type for v in graph.inputs])
    merged = Graph(graph.name)
    values: dict[Value, Value] = {}
    for name, value in zip(graph.input_names, graph.inputs, strict=True):
        values[value] = merged.add_input(name, _merge(value.type, shape, groups))
    builder = Builder(merged)
    merged.weights = graph.weights
    for op in ops:
        made = builder.op(op.name, [values[v] for v in op.operands], **op.attrs)
        values.update(zip(op.results, made.results, strict=True))
    names = graph.output_names
    merged.set_outputs(list(zip(names, (values[v] for v in graph.outputs), strict=True)))
    if merged.outputs[0].type.elements != graph.outputs[0].type.elements:
        return graph
    return merged


def _is_scalar(values: list[Value]) -> bool:
    return all(v.type.rank == 0 for v in values)


def _groups(shape: tuple[Dim, ...], inputs: list[TensorType]) -> list[list[int]]:
    """Runs of adjacent axes along which every input is either whole or broadcast."""

    def pattern(axis: int) -> tuple[bool, ...]:
        found = []
        for tensor in inputs:
            own = axis - (len(shape) - tensor.rank)
            found.append(own >= 0 and tensor.shape[own] != 1)
        return tuple(found)

    axes = [a for a in range(len(shape)) if shape[a] != 1]
    return [list(run) for _, run in groupby(axes, key=pattern)]


def _merge(tensor: TensorType, shape: tuple[Dim, ...], groups: list[list[int]]) -> TensorType:
    missing = len(shape) - tensor.rank
    sizes: list[Dim] = [
        product([tensor.shape[a - missing] if a >= missing else 1 for a in group]) for group in groups
    ]
    while sizes and sizes[0] == 1:
        sizes.pop(0)
    return tensor.with_shape(sizes)
