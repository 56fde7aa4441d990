"""Rules of normalisations: statistics of an element's row, found again for each element."""

from __future__ import annotations

from tvm import tirx

from bireme.codegen.evaluate import Evaluator, Index, Rule
from bireme.codegen.index import clamp, lanes_in, minus, plus
from bireme.codegen.rules.folding import add, fold_one, multiply, number, subtract
from bireme.codegen.rules.statistics import NORMALISATIONS, totals
from bireme.codegen.rules.transcendental import power
from bireme.codegen.rules.window import within
from bireme.codegen.tir import Expr, compute, const, index, match, select
from bireme.ir import Dim, Op


def row_sizes(op: Op) -> list[Dim]:
    """Sizes of the axes over which an op normalises an element's row."""
    shape = op.operands[0].type.shape
    match op.name:
        case "softmax" | "log_softmax":
            return [shape[op.attrs["axis"] % len(shape)]]
        case "layer_norm" | "rms_norm":
            return list(shape[op.attrs["axis"] % len(shape) :])
        case "group_norm":
            return [shape[1] // op.attrs["groups"], *shape[2:]]
        case _:
            return list(shape[2:])


def row_index(evaluator: Evaluator, op: Op, at: Index, inner: Index) -> Index:
    """Index of another element of the row of `at`: the one at `inner` within the row."""
    rank = len(at)
    match op.name:
        case "softmax" | "log_softmax":
            axis = op.attrs["axis"] % rank
            return [*at[:axis], *inner, *at[axis + 1 :]]
        case "layer_norm" | "rms_norm":
            return [*at[: op.attrs["axis"] % rank], *inner]
        case "group_norm":
            size = evaluator.emit.dim(row_sizes(op)[0])
            first = tirx.truncdiv(at[1], size) * size
            return [at[0], evaluator.emit.bind(first + inner[0]), *inner[1:]]
        case _:
            return [*at[:2], *inner]


def scaled(evaluator: Evaluator, op: Op, at: Index, normal: Expr) -> Expr:
    """The normalised element with the op's scale and bias, where it has them."""
    per_channel = op.name in ("instance_norm", "group_norm")
    for parameter, combine in zip(op.operands[1:], (multiply, add), strict=False):
        own = [at[1]] if per_channel else at
        normal = combine(normal, evaluator.broadcast_at(parameter, own))
    return normal


def _normalise(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
    x, emit = op.operands[0], evaluator.emit
    normalisation = NORMALISATIONS[op.name]

    def operand(inner: Index) -> Expr:
        return evaluator.at(x, row_index(evaluator, op, at, inner))

    found = totals(emit, normalisation.statistics(op), lanes_in(at), row_sizes(op), operand)
    return scaled(evaluator, op, at, normalisation.result(emit, evaluator.at(x, at), found))


def _batch_norm(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
    x, scale, bias, mean, variance = (
        evaluator.at(v, at if i == 0 else [at[1]]) for i, v in enumerate(op.operands)
    )
    epsilon = const(op.attrs["epsilon"], compute(op.operands[0].type.dtype))
    variance, epsilon = match(variance, epsilon)
    factor = evaluator.emit.bind(scale / tirx.sqrt(variance + epsilon))
    return add(multiply(subtract(x, mean), factor), bias)


def _lrn(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
    (x,) = op.operands
    emit, attrs, dtype = evaluator.emit, op.attrs, compute(x.type.dtype)
    channels = emit.dim(x.type.shape[1])
    before = (attrs["size"] - 1) // 2

    def square(tap: Index) -> Expr:
        channel = minus(plus(at[1], tap[0]), before)
        value = evaluator.at(x, [at[0], clamp(channel, channels), *at[2:]])
        return select(within(channel, channels), value * value, number(0, x.type.dtype))

    total = fold_one(
        emit,
        x.type.dtype,
        lanes_in(at),
        number(0, x.type.dtype),
        [index(attrs["size"])],
        square,
        add,
    )
    factor, bias, beta, total, own = match(
        const(attrs["alpha"] / attrs["size"], dtype),
        const(attrs["bias"], dtype),
        const(attrs["beta"], dtype),
        total,
        evaluator.at(x, at),
    )
    return own / power(emit, bias + factor * total, beta)


RULES: dict[str, Rule] = {
    **dict.fromkeys(NORMALISATIONS, _normalise),
    "batch_norm": _batch_norm,
    "lrn": _lrn,
}
