"""Recurrent layers: LSTM, GRU and the simple RNN, as ONNX defines them.

Axes: S steps, B batch, I inputs, H hidden units, D directions (1, or 2 when bidirectional).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bireme.ir.dims import Dim, ceildiv
from bireme.ir.dtypes import FLOATS, DType
from bireme.ir.opdef import Array, Attr, AttrKind, Attrs, Fusion, OpDef, Operand, Typing
from bireme.ir.ops._numeric import sigmoid, widen
from bireme.ir.ops._rules import at_least, has_rank, one_of, same_dtype, same_shape
from bireme.ir.types import TensorType


@dataclass(frozen=True)
class Activation:
    """An activation of a gate, `function(x, *parameters)`, and ONNX's alpha and beta."""

    function: Callable[..., Array]
    alpha: float | None = None
    beta: float | None = None


ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": Activation(sigmoid),
    "tanh": Activation(np.tanh),
    "relu": Activation(lambda x: np.maximum(x, 0)),
    "affine": Activation(lambda x, alpha, beta: alpha * x + beta, 1.0, 0.0),
    "leakyrelu": Activation(lambda x, alpha: np.where(x < 0, alpha * x, x), 0.01),
    "thresholdedrelu": Activation(lambda x, alpha: np.where(x > alpha, x, 0), 1.0),
    "scaledtanh": Activation(lambda x, alpha, beta: alpha * np.tanh(beta * x), 1.0, 1.0),
    "hardsigmoid": Activation(lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1), 0.2, 0.5),
    "elu": Activation(lambda x, alpha: np.where(x < 0, alpha * np.expm1(x), x), 1.0),
    "softsign": Activation(lambda x: x / (1 + np.abs(x))),
    "softplus": Activation(lambda x: np.logaddexp(0, x)),
}

_DIRECTIONS = ("forward", "reverse", "bidirectional")


def bound_activations(attrs: Attrs) -> list[Callable[[Array], Array]]:
    """The activations with their parameters; `alphas` and `betas` go to those that take one, in
    turn.
    """
    alphas, betas = iter(attrs["alphas"]), iter(attrs["betas"])
    bound = []
    for name in attrs["activations"]:
        kind = ACTIVATIONS[name]
        values = []
        if kind.alpha is not None:
            values.append(next(alphas, kind.alpha))
        if kind.beta is not None:
            values.append(next(betas, kind.beta))
        bound.append(_bind(kind.function, values))
    return bound


def _bind(function: Callable[..., Array], values: Sequence[float]) -> Callable[[Array], Array]:
    return lambda x: np.asarray(function(x, *map(x.dtype.type, values)), x.dtype)


def _recurrent_type(t: Typing, gates: int, activations: int, cell: bool) -> Sequence[TensorType]:
    states = 2 if cell else 1
    x, w, r, b, *state = t.types[: 4 + states]
    optional = t.types[4 + states :]
    same_dtype(t, (x, w, r, *state))
    if t.attrs["block"] == 1 or b.dtype is not DType.F32 or x.dtype.bits != 16:
        same_dtype(t, (x, b))
    one_of(t, "direction", _DIRECTIONS)
    directions = 2 if t.attrs["direction"] == "bidirectional" else 1
    if len(t.attrs["activations"]) != activations * directions:
        raise t.fail(
            f"activations must have {activations * directions} entries; "
            f"found {len(t.attrs['activations'])}",
            "BM1006",
        )
    for name in t.attrs["activations"]:
        if name not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise t.fail(f"activations must be of {known}; found {name!r}", "BM1006")
    at_least(t, "block", 1)
    block = t.attrs["block"]
    has_rank(t, x, 3, "x")
    has_rank(t, r, 3 if block == 1 else 5, "r")
    steps, batch, inputs = x.shape
    hidden = r.shape[2]
    if block == 1:
        same_shape(t, w.shape, (directions, gates * hidden, inputs), "w")
        same_shape(t, r.shape, (directions, gates * hidden, hidden), "r")
        same_shape(t, b.shape, (directions, 2 * gates * hidden), "b")
    else:
        blocks, biases = ceildiv(hidden, block), gates + bool(t.attrs.get("linear_before_reset"))
        same_shape(t, w.shape, (directions, blocks, gates, inputs, block), "packed w")
        same_shape(t, r.shape, (directions, blocks, hidden, gates, block), "packed r")
        same_shape(t, b.shape, (directions, blocks, biases, block), "packed b")
    final: tuple[Dim, ...] = (directions, batch, hidden)
    for tensor, name in zip(state, ("h0", "c0"), strict=False):
        same_shape(t, tensor.shape, final, name)
    if optional:
        same_shape(t, optional[0].shape, (batch,), "lengths")
    if len(optional) > 1:
        same_dtype(t, (x, optional[1]))
        same_shape(t, optional[1].shape, (directions, 3 * hidden), "p")
    return [x.with_shape((steps, directions, batch, hidden)), *[x.with_shape(final)] * states]


# (input's share of the gates at a step [B, gates * H], states [B, H]...) -> new states
Step = Callable[..., tuple[Array, ...]]


def _rows(packed: Array, hidden: int) -> Array:
    """`[D, blocks, gates, K, block]` → `[D, gates * H, K]`."""
    units = np.moveaxis(packed, 1, 2).swapaxes(-1, -2)  # [D, gates, blocks, block, K]
    directions, gates, blocks, block, depth = units.shape
    units = units.reshape(directions, gates, blocks * block, depth)[:, :, :hidden]
    return units.reshape(directions, gates * hidden, depth)


def _unpacked(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    """The operands of a layer with its weights as ONNX has them."""
    if attrs["block"] == 1:
        return inputs
    x, w, r, b, *rest = inputs
    hidden, gates = r.shape[2], r.shape[3]
    biases = _rows(b[:, :, :, np.newaxis], hidden)[..., 0].reshape(b.shape[0], -1)
    missing = (2 * gates - b.shape[2]) * hidden
    biases = np.insert(biases, [gates * hidden] * missing, 0, axis=1)
    return [x, _rows(w, hidden), _rows(np.swapaxes(r, 2, 3), hidden), biases, *rest]


def _run(
    inputs: Sequence[Array],
    attrs: Attrs,
    states: int,
    activations: int,
    make_step: Callable[[int, list[Callable[[Array], Array]]], Step],
) -> Sequence[Array]:
    """Walks the steps of each direction; `make_step(direction, activations)` gives its step."""
    x, w = widen(inputs[0]), widen(inputs[1])
    steps, batch, _ = x.shape
    given = inputs[4 + states] if len(inputs) > 4 + states else np.full(batch, steps)
    functions = bound_activations(attrs)
    directions = w.shape[0]
    hidden = inputs[2].shape[2]
    y = np.zeros((steps, directions, batch, hidden), x.dtype)
    final = [np.array(widen(s)) for s in inputs[4 : 4 + states]]
    for d in range(directions):
        step = make_step(d, functions[d * activations : (d + 1) * activations])
        shares = x @ w[d].T
        backward = attrs["direction"] == "reverse" or d == 1
        for time in reversed(range(steps)) if backward else range(steps):
            alive = (time < given)[:, np.newaxis]
            new = step(shares[time], *(s[d] for s in final))
            for state, value in zip(final, new, strict=True):
                state[d] = np.where(alive, value, state[d])
            y[time, d] = np.where(alive, final[0][d], 0)
    return [a.astype(inputs[0].dtype, copy=False) for a in (y, *final)]


def _clipped(x: Array, limit: float) -> Array:
    return np.clip(x, -limit, limit) if limit > 0 else x


def _lstm_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    inputs = _unpacked(inputs, attrs)
    r, b = widen(inputs[2]), widen(inputs[3])
    hidden, clip = r.shape[2], attrs["clip"]
    p = widen(inputs[7]) if len(inputs) > 7 else np.zeros((r.shape[0], 3 * hidden), r.dtype)

    def make_step(d: int, functions: list[Callable[[Array], Array]]) -> Step:
        f, g, h = functions
        bias = b[d, : 4 * hidden] + b[d, 4 * hidden :]
        peep_i, peep_o, peep_f = np.split(p[d], 3)

        def step(share: Array, state: Array, cell: Array) -> tuple[Array, Array]:
            i, o, forget, c = np.split(share + state @ r[d].T + bias, 4, axis=1)
            i = f(_clipped(i + peep_i * cell, clip))
            forget = 1 - i if attrs["input_forget"] else f(_clipped(forget + peep_f * cell, clip))
            cell = forget * cell + i * g(_clipped(c, clip))
            return f(_clipped(o + peep_o * cell, clip)) * h(cell), cell

        return step

    return _run(inputs, attrs, 2, 3, make_step)


def _gru_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    inputs = _unpacked(inputs, attrs)
    r, b = widen(inputs[2]), widen(inputs[3])
    hidden, clip = r.shape[2], attrs["clip"]

    def make_step(d: int, functions: list[Callable[[Array], Array]]) -> Step:
        f, g = functions
        input_bias, state_bias = b[d, : 3 * hidden], b[d, 3 * hidden :]
        r_gates, r_new = r[d, : 2 * hidden], r[d, 2 * hidden :]
        bias_gates, bias_new = state_bias[: 2 * hidden], state_bias[2 * hidden :]

        def step(share: Array, state: Array) -> tuple[Array]:
            share = share + input_bias
            gates = share[:, : 2 * hidden] + state @ r_gates.T + bias_gates
            z, reset = np.split(f(_clipped(gates, clip)), 2, axis=1)
            if attrs["linear_before_reset"]:
                recurrence = reset * (state @ r_new.T + bias_new)
            else:
                recurrence = (reset * state) @ r_new.T + bias_new
            new = g(_clipped(share[:, 2 * hidden :] + recurrence, clip))
            return ((1 - z) * new + z * state,)

        return step

    return _run(inputs, attrs, 1, 2, make_step)


def _rnn_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    inputs = _unpacked(inputs, attrs)
    r, b = widen(inputs[2]), widen(inputs[3])
    hidden, clip = r.shape[2], attrs["clip"]

    def make_step(d: int, functions: list[Callable[[Array], Array]]) -> Step:
        bias = b[d, :hidden] + b[d, hidden:]
        return lambda share, state: (functions[0](_clipped(share + state @ r[d].T + bias, clip)),)

    return _run(inputs, attrs, 1, 1, make_step)


def _operands(*more: Operand) -> tuple[Operand, ...]:
    return (
        Operand("x", FLOATS),
        Operand("w", FLOATS),
        Operand("r", FLOATS),
        Operand("b", FLOATS),
        Operand("h0", FLOATS),
        *more,
    )


def _attrs(count: int, *more: Attr) -> tuple[Attr, ...]:
    return (
        Attr("direction", AttrKind.STR, "forward", f"{', '.join(_DIRECTIONS)}"),
        Attr(
            "activations",
            AttrKind.STRS,
            doc=f"{count} for each direction, of {', '.join(ACTIVATIONS)}",
        ),
        Attr(
            "alphas", AttrKind.FLOATS, (), "for the activations with an alpha, in turn; else ONNX's"
        ),
        Attr("betas", AttrKind.FLOATS, (), "for the activations with a beta, in turn; else ONNX's"),
        Attr(
            "clip",
            AttrKind.FLOAT,
            0.0,
            "bound on what goes into an activation, but not into that of an LSTM's cell output (as "
            "in ONNX Runtime); 0 for none",
        ),
        Attr(
            "block",
            AttrKind.INT,
            1,
            "above 1 the weights are packed: `w [D, blocks, gates, I, block]`, "
            "`r [D, blocks, H, gates, block]`, `b [D, blocks, gates, block]` with the sums of both "
            "biases (of 16-bit floats in float32), and blocks of `block` hidden units; with "
            "`linear_before_reset` a last row of `b` holds the recurrent bias of the hidden gate",
        ),
        *more,
    )


_LENGTHS = Operand("lengths", (DType.I32,), optional=True)
_SHARED = (
    "`x [S, B, I]`, `w [D, {gates}H, I]`, `r [D, {gates}H, H]`, `b [D, {biases}H]` (input biases, "
    "then recurrent ones), `h0 [D, B, H]`{cell}; `lengths [B]` ends each sequence early: later "
    "steps give 0 and keep the state. Results: `y [S, D, B, H]` and the final states `[D, B, H]`. "
)

OPS = (
    OpDef(
        name="lstm",
        operands=_operands(Operand("c0", FLOATS), _LENGTHS, Operand("p", FLOATS, optional=True)),
        attrs=_attrs(
            3, Attr("input_forget", AttrKind.BOOL, False, "the forget gate is 1 - input gate")
        ),
        infer=lambda t: _recurrent_type(t, 4, 3, cell=True),
        reference=_lstm_reference,
        fusion=Fusion.OPAQUE,
        doc="Long short-term memory. "
        + _SHARED.format(gates=4, biases=8, cell=", `c0 [D, B, H]`")
        + "Gates stand in the order input, output, forget, cell; `p [D, 3H]` are peephole weights "
        "of the first three. Activations: of the gates, of the cell input, of the cell output.",
    ),
    OpDef(
        name="gru",
        operands=_operands(_LENGTHS),
        attrs=_attrs(
            2,
            Attr(
                "linear_before_reset",
                AttrKind.BOOL,
                False,
                "the reset gate scales the recurrent product, not the state before it",
            ),
        ),
        infer=lambda t: _recurrent_type(t, 3, 2, cell=False),
        reference=_gru_reference,
        fusion=Fusion.OPAQUE,
        doc="Gated recurrent unit. "
        + _SHARED.format(gates=3, biases=6, cell="")
        + "Gates stand in the order update, reset, hidden. Activations: of the gates, of the "
        "hidden value.",
    ),
    OpDef(
        name="rnn",
        operands=_operands(_LENGTHS),
        attrs=_attrs(1),
        infer=lambda t: _recurrent_type(t, 1, 1, cell=False),
        reference=_rnn_reference,
        fusion=Fusion.OPAQUE,
        doc="Simple recurrent layer, `h = f(x w' + h r' + biases)`. "
        + _SHARED.format(gates="", biases=2, cell=""),
    ),
)
