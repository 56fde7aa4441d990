"""Recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bireme.frontend.onnx.emit import Tensor, scalar, sizes
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.shape import expand, transpose
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, Dim, DType


def _zeros(n: Node, shape: Sequence[Dim]) -> Tensor:
    return expand(n.b, scalar(0, n[0].dtype), shape)


def _recurrent(
    n: Node, gates: int, defaults: Sequence[str], w: Tensor, r: Tensor
) -> tuple[list[Tensor], dict[str, Any]]:
    """Operands x, w, r, b, h0 (seq first) and the attributes that all three layers have."""
    layout = n.flag("layout")
    x = transpose(n.b, n[0], (1, 0, 2)) if layout else n[0]
    if x.rank != 3 or w.rank != 3 or r.rank != 3:
        raise BiremeError("BM1006", f"X, W and R must have 3 axes: {x.type}, {w.type}, {r.type}")
    direction = n.choice("direction", "forward", ("forward", "reverse", "bidirectional"))
    count = 2 if direction == "bidirectional" else 1
    hidden = r.shape[2]
    if n.integer("hidden_size", hidden if isinstance(hidden, int) else 0) != hidden:
        raise BiremeError("BM1006", f"hidden_size does not fit R {r.type}")
    bias = n.get(3) or _zeros(n, (count, 2 * gates * hidden))
    state = n.get(5)
    if state is None:
        state = _zeros(n, (count, x.shape[1], hidden))
    elif layout:
        state = transpose(n.b, state, (1, 0, 2))
    activations = n.texts("activations") if n.has("activations") else [*defaults] * count
    attrs: dict[str, Any] = {
        "direction": direction,
        "activations": tuple(a.lower() for a in activations),
        "alphas": tuple(n.numbers("activation_alpha", [])),
        "betas": tuple(n.numbers("activation_beta", [])),
        "clip": n.number("clip", 0.0),
    }
    return [x, w, r, bias, state], attrs


def _lengths(n: Node, x: Tensor, always: bool = False) -> list[Tensor]:
    """The operand with each sequence's length; full ones when needed but not given."""
    given = n.get(4)
    if given is not None:
        return [given if given.dtype is DType.I32 else n.b.cast(given, dtype=DType.I32)]
    if not always:
        return []
    full = n.b.cast(sizes([x.shape[0]]), dtype=DType.I32)
    return [expand(n.b, full, (x.shape[1],))]


def _results(n: Node, results: Sequence[Tensor]) -> list[Tensor]:
    """The results in the node's layout."""
    if not n.flag("layout"):
        return list(results)
    y, *states = results
    return [transpose(n.b, y, (2, 0, 1, 3)), *(transpose(n.b, s, (1, 0, 2)) for s in states)]


def lstm(n: Node, w: Tensor, r: Tensor) -> list[Tensor]:
    """An LSTM node with these weights and its other inputs where ONNX has them."""
    operands, attrs = _recurrent(n, 4, ("Sigmoid", "Tanh", "Tanh"), w, r)
    attrs["input_forget"] = n.flag("input_forget")
    x, state = operands[0], operands[4]
    cell = n.get(6)
    if cell is None:
        cell = _zeros(n, state.shape)
    elif n.flag("layout"):
        cell = transpose(n.b, cell, (1, 0, 2))
    peephole = n.get(7)
    more = [] if peephole is None else [peephole]
    lengths = _lengths(n, x, always=bool(more))
    return _results(n, n.b.op("lstm", [*operands, cell, *lengths, *more], **attrs))


def _gru(n: Node) -> list[Tensor]:
    operands, attrs = _recurrent(n, 3, ("Sigmoid", "Tanh"), n[1], n[2])
    attrs["linear_before_reset"] = n.flag("linear_before_reset")
    return _results(n, n.b.op("gru", [*operands, *_lengths(n, operands[0])], **attrs))


def _rnn(n: Node) -> list[Tensor]:
    operands, attrs = _recurrent(n, 1, ("Tanh",), n[1], n[2])
    return _results(n, n.b.op("rnn", [*operands, *_lengths(n, operands[0])], **attrs))


TABLE: Table = {"GRU": _gru, "LSTM": lambda n: lstm(n, n[1], n[2]), "RNN": _rnn}
