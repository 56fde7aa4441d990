"""Region ops in ONNX: If, Loop, Scan."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import GraphProto, helper

from bireme.frontend.onnx.dtypes import TO_ONNX
from bireme.frontend.onnx.export import OpWriter, Writer
from bireme.ir import BiremeError, Block, DType, Op, TensorType


def _info(name: str, tensor: TensorType) -> object:
    shape = [d if isinstance(d, int) else None for d in tensor.shape]
    return helper.make_tensor_value_info(name, TO_ONNX[tensor.dtype], shape)


def _graph(
    w: Writer, block: Block, name: str, before: Sequence[tuple[str, TensorType]] = ()
) -> GraphProto:
    """A block as a subgraph, with inputs named in `before` ahead of its arguments."""
    inputs = [_info(n, t) for n, t in before]
    for value in block.arguments:
        w.bind(value, w.fresh(name))
        inputs.append(_info(w.name(value), value.type))
    outputs = []
    with w.inside() as nodes:
        w.block(block)
        for value in block.yields:
            # An output must be made in the subgraph itself, under a name of its own.
            copy = w.one("Identity", w.name(value))
            outputs.append(_info(copy, value.type))
    return helper.make_graph(nodes, name, inputs, outputs)


def _if(w: Writer, op: Op) -> Sequence[str]:
    then, other = (_graph(w, block, "branch") for block in op.blocks)
    condition = [w.name(op.operands[0])]
    return w.node("If", condition, len(op.results), then_branch=then, else_branch=other)


def _scan(w: Writer, op: Op) -> Sequence[str]:
    if op.attrs["conditional"]:
        raise BiremeError("BM1003", "a scan that a condition ends has no ONNX form", where=op.node)
    carries, count = op.attrs["carries"], len(op.operands) - op.attrs["carries"]
    backward = int(op.attrs["reverse"])
    body = _graph(w, op.blocks[0], "step")
    stacked = len(op.results) - carries
    directions = {"scan_output_directions": [backward] * stacked} if stacked else {}
    return w.node(
        "Scan",
        [w.name(v) for v in op.operands],
        len(op.results),
        body=body,
        num_scan_inputs=count,
        scan_input_directions=[backward] * count,
        **directions,
    )


def _while(w: Writer, op: Op) -> Sequence[str]:
    """A Loop whose condition is computed before it, and again at the end of each step."""
    test, body = op.blocks
    carried = [w.name(v) for v in op.operands]
    first = _inline(w, test, carried)[0]
    step, going = w.fresh("step"), w.fresh("going")
    inputs = [_info(step, TensorType(DType.I64, ())), _info(going, TensorType(DType.BOOL, ()))]
    for value in body.arguments:
        w.bind(value, w.fresh("carried"))
        inputs.append(_info(w.name(value), value.type))
    with w.inside() as nodes:
        w.block(body)
        after = [w.one("Identity", w.name(v)) for v in body.yields]
        again = w.one("Identity", _inline(w, test, after)[0])
    outputs = [_info(again, TensorType(DType.BOOL, ()))]
    outputs += [_info(n, v.type) for n, v in zip(after, body.yields, strict=True)]
    graph = helper.make_graph(nodes, "body", inputs, outputs)
    return w.node("Loop", ["", first, *carried], len(op.results), body=graph)


def _inline(w: Writer, block: Block, arguments: Sequence[str]) -> list[str]:
    """Writes a block's ops in place, its arguments named as given; gives what it yields."""
    for value, name in zip(block.arguments, arguments, strict=True):
        w.bind(value, name)
    w.block(block)
    return [w.name(v) for v in block.yields]


CONTROL: dict[str, OpWriter] = {"if": _if, "scan": _scan, "while": _while}
