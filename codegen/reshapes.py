"""Taking reshapes out of a kernel: they only describe memory in another way.

A reshape behind element-wise ops moves in front of them, and one at an argument or a result becomes
the shape of that argument or result. What is left stands between ops that care about axes.
"""

from __future__ import annotations

from bireme.codegen.collapse import names_axis
from bireme.ir import Builder, Dim, Fusion, Graph, Op, Value

Shape = tuple[Dim, ...]


def without_reshapes(graph: Graph) -> Graph:
    """The same computation with as few reshapes as this can do."""
    if not any(op.name == "reshape" for op in graph.body.ops):
        return graph
    return _Rebuilt(_Rebuilt(graph, {}).graph, None).graph


class _Rebuilt:
    """A copy of a graph.

    With `inputs` given (even empty), reshapes are moved up; without, arguments that are only ever
    read in one other shape get that shape.
    """

    def __init__(self, source: Graph, inputs: dict[Value, Shape] | None) -> None:
        self._moving = inputs is not None
        self.graph = Graph(source.name)
        self.graph.weights = source.weights
        self._builder = Builder(self.graph)
        self._made: dict[Value, Value] = {}
        self._reshaped: dict[tuple[Value, Shape], Value] = {}
        for name, value in zip(source.input_names, source.inputs, strict=True):
            shape = value.type.shape if self._moving else _only_shape(value)
            self._made[value] = self.graph.add_input(name, value.type.with_shape(shape))
        outputs = _without_last_reshapes(source.outputs) if self._moving else source.outputs
        made = [self._value(v) for v in outputs]
        self.graph.set_outputs(list(zip(source.output_names, made, strict=True)))

    def _value(self, value: Value) -> Value:
        """The copy of a value."""
        if value not in self._made:
            op = value.owner
            assert op is not None
            if op.name == "reshape":
                self._made[value] = self._as(op.operands[0], value.type.shape)
            else:
                made = self._builder.op(op.name, [self._value(v) for v in op.operands], **op.attrs)
                self._made.update(zip(op.results, made.results, strict=True))
        return self._made[value]

    def _as(self, value: Value, shape: Shape) -> Value:
        """The copy of a value in another shape."""
        if (value, shape) not in self._reshaped:
            self._reshaped[value, shape] = self._in_shape(value, shape)
        return self._reshaped[value, shape]

    def _in_shape(self, value: Value, shape: Shape) -> Value:
        op = value.owner
        if self._moving and op is not None and op.name == "reshape":
            return self._as(op.operands[0], shape)
        if self._moving and op is not None and _is_aligned(op) and len(value.uses) == 1:
            whole = value.type.shape
            operands = [
                self._as(v, shape) if v.type.shape == whole else self._value(v) for v in op.operands
            ]
            return self._builder.op(op.name, operands, **op.attrs).result
        made = self._value(value)
        same = made.type.shape == shape
        return made if same else self._builder.op("reshape", [made], shape=shape).result


def _is_aligned(op: Op) -> bool:
    """Whether an op treats all elements alike, whatever their place."""
    shape = op.results[0].type.shape
    alike = all(v.type.shape in (shape, ()) for v in op.operands)
    return op.definition.fusion is Fusion.POINTWISE and alike and not names_axis(op)


def _only_shape(argument: Value) -> Shape:
    """The shape in which an argument is read, when all that read it reshape it alike."""
    uses = argument.uses
    shapes = {op.results[0].type.shape for op, _ in uses if op.name == "reshape"}
    if len(shapes) == 1 and all(op.name == "reshape" for op, _ in uses):
        return shapes.pop()
    return argument.type.shape


def _without_last_reshapes(outputs: list[Value]) -> list[Value]:
    """The outputs before a final reshape, when all of them have one shape then."""
    stripped = []
    for value in outputs:
        owner = value.owner
        while owner is not None and owner.name == "reshape":
            value = owner.operands[0]
            owner = value.owner
        stripped.append(value)
    owned = all(value.owner is not None for value in stripped)
    return stripped if owned and len({v.type.shape for v in stripped}) == 1 else outputs
