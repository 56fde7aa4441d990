"""Merging axes of element-wise groups: `relu` on [n, c, h, w] is `relu` on one axis.

Memory is the same, only its description changes, so fewer loops and fewer distinct kernels remain.
"""

from __future__ import annotations

from itertools import groupby

from bireme.ir import Builder, Dim, Fusion, Graph, Op, TensorType, Value, product


def collapse(graph: Graph) -> Graph:
    """`graph` with merged axes when all its ops are element-wise; otherwise `graph` itself."""
    ops = graph.body.ops
    shape = graph.outputs[0].type.shape
    if not all(
        op.definition.fusion is Fusion.POINTWISE
        or (op.definition.fusion is Fusion.CONSTANT and _is_scalar(op.results))
        or _counts_all(op, shape)
        for op in ops
    ):
        return graph
    if any(v.type.shape != shape for v in graph.outputs) or any(map(names_axis, ops)):
        return graph
    groups = _groups(shape, [v.type for v in graph.inputs])
    whole = _merge(graph.outputs[0].type, shape, groups).shape
    merged = _with_shapes(graph, [_merge(v.type, shape, groups) for v in graph.inputs], whole)
    if merged.outputs[0].type.elements != graph.outputs[0].type.elements:
        return graph
    return merged


def flatten_positions(graph: Graph) -> Graph:
    """`graph` with height and width as one axis when it is a 1×1 convolution and element-wise ops.

    A channel-blocked [n, c, h, w, 16] becomes [n, c, 1, h * w, 16].
    """
    convolutions = [op for op in graph.body.ops if op.name == "conv"]
    if len(convolutions) != 1:
        return graph
    (conv,) = convolutions
    x, w = conv.operands
    taps = w.type.shape[2 : 2 + len(conv.attrs["strides"])]
    one_by_one = taps == (1, 1) and conv.attrs["in_block"] > 1
    if not one_by_one or {*conv.attrs["strides"]} != {1} or any(conv.attrs["pads"]):
        return graph
    others = [op for op in graph.body.ops if op != conv and not _is_scalar(op.results)]
    if x not in graph.inputs or any(o.definition.fusion is not Fusion.POINTWISE for o in others):
        return graph
    height, width = conv.result.type.shape[2:4]
    if height == 1:
        return graph
    shapes = []
    for value in graph.inputs:
        shape = value.type.shape
        spatial = shape[-3:-1]
        if value == w or spatial in ((), (1, 1)) or len(shape) < 3:
            shapes.append(value.type)
        elif spatial == (height, width):
            flat = (*shape[:-3], 1, height * width, shape[-1])
            shapes.append(value.type.with_shape(flat))
        else:
            return graph
    return _with_shapes(graph, shapes)


def flatten_rows(graph: Graph) -> Graph:
    """`graph` with all rows of a matrix product along one axis, when the right operand is the same
    for all of them and the other ops are element-wise: [n, s, k] becomes [n * s, k].

    Tiles of rows then do not end at every n.
    """
    products = [op for op in graph.body.ops if op.name == "matmul"]
    if len(products) != 1:
        return graph
    (matmul,) = products
    left, right = matmul.operands
    shape = matmul.result.type.shape
    shared = matmul.attrs["block"] > 1 or right.type.rank == 2
    others = [op for op in graph.body.ops if op != matmul and not _is_scalar(op.results)]
    if len(shape) < 3 or not shared or left not in graph.inputs or right not in graph.inputs:
        return graph
    if any(o.definition.fusion is not Fusion.POINTWISE or names_axis(o) for o in others):
        return graph
    if any(v.type.shape != shape for v in graph.outputs) or left.uses != [(matmul, 0)]:
        return graph
    rows = product(shape[:-1])
    shapes = []
    for value in graph.inputs:
        own = value.type.shape
        if value == right or len(own) < 2:
            shapes.append(value.type)
        elif len(own) == len(shape) and own[:-1] == shape[:-1]:
            shapes.append(value.type.with_shape((rows, own[-1])))
        elif all(d == 1 for d in own[:-1]):
            shapes.append(value.type.with_shape(own[-1:]))
        else:
            return graph
    return _with_shapes(graph, shapes)


def _with_shapes(
    graph: Graph, inputs: list[TensorType], counted: tuple[Dim, ...] | None = None
) -> Graph:
    """The same ops on inputs of other shapes; `counted` is that of places in the whole tensor."""
    changed = Graph(graph.name)
    changed.weights = graph.weights
    values: dict[Value, Value] = {}
    for name, value, tensor in zip(graph.input_names, graph.inputs, inputs, strict=True):
        values[value] = changed.add_input(name, tensor)
    builder = Builder(changed)
    for op in graph.body.ops:
        attrs = op.attrs if counted is None or op.name != "iota" else {**op.attrs, "shape": counted}
        made = builder.op(op.name, [values[v] for v in op.operands], **attrs)
        values.update(zip(op.results, made.results, strict=True))
    outputs = [values[v] for v in graph.outputs]
    changed.set_outputs(list(zip(graph.output_names, outputs, strict=True)))
    return changed


def names_axis(op: Op) -> bool:
    """Whether an operand is a vector along an axis that the op names."""
    return op.name in ("quantize", "dequantize") and op.operands[1].type.rank == 1


def _counts_all(op: Op, shape: tuple[Dim, ...]) -> bool:
    """Whether an op gives the places of a whole tensor in row-major order, which merging keeps."""
    return op.name == "iota" and op.attrs["axis"] is None and op.result.type.shape == shape


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
        product([tensor.shape[a - missing] if a >= missing else 1 for a in group])
        for group in groups
    ]
    while sizes and sizes[0] == 1:
        sizes.pop(0)
    return tensor.with_shape(sizes)
