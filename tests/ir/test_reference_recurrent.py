"""LSTM, GRU and RNN against ONNX Runtime, and quantisation against both it and plain arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bireme.ir import Array
from bireme.ir.ops.recurrent import ACTIVATIONS
from bireme.ir.reference import run_op
from tests.ir.peer import peer

_random = np.random.default_rng(19)
STEPS, BATCH, INPUTS, HIDDEN = 5, 4, 3, 2
LENGTHS = np.array([5, 1, 3, 2], np.int32)
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
USUAL = {"lstm": ("sigmoid", "tanh", "tanh"), "gru": ("sigmoid", "tanh"), "rnn": ("tanh",)}
# ONNX's own spelling.
ONNX_NAMES = {
    "sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "affine": "Affine",
    "leakyrelu": "LeakyRelu", "thresholdedrelu": "ThresholdedRelu", "scaledtanh": "ScaledTanh",
    "hardsigmoid": "HardSigmoid", "elu": "Elu", "softsign": "Softsign", "softplus": "Softplus",
}  # fmt: skip


def floats(*shape: int) -> Array:
    return _random.standard_normal(shape).astype(np.float32)


def operands(op: str, directions: int) -> tuple[Array, Array, Array, Array, list[Array]]:
    gates = GATES[op]
    states = [floats(directions, BATCH, HIDDEN) for _ in range(2 if op == "lstm" else 1)]
    return (
        floats(STEPS, BATCH, INPUTS),
        floats(directions, gates * HIDDEN, INPUTS),
        floats(directions, gates * HIDDEN, HIDDEN),
        floats(directions, 2 * gates * HIDDEN),
        states,
    )


def check(op: str, direction: str, *, lengths: Array | None = None, **attrs: Any) -> None:
    directions = 2 if direction == "bidirectional" else 1
    x, w, r, b, states = operands(op, directions)
    attrs.setdefault("activations", USUAL[op] * directions)
    own = dict(attrs, direction=direction)
    peepholes = own.pop("peepholes", None)
    ends = [] if lengths is None else [lengths]
    found = run_op(
        op, [x, w, r, b, *states, *ends, *([] if peepholes is None else [peepholes])], own
    )
    names = {"alphas": "activation_alpha", "betas": "activation_beta"}
    onnx_attrs: dict[str, Any] = {names.get(k, k): v for k, v in attrs.items() if k != "peepholes"}
    onnx_attrs["activations"] = [ONNX_NAMES[a] for a in attrs["activations"]]
    if op == "lstm":
        states = [*states, peepholes]
    expected = peer(
        op.upper(),
        [x, w, r, b, lengths, *states],
        outputs=3 if op == "lstm" else 2,
        hidden_size=HIDDEN,
        direction=direction,
        **{k: int(v) if isinstance(v, bool) else v for k, v in onnx_attrs.items()},
    )
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


each_op = pytest.mark.parametrize("op", ["lstm", "gru", "rnn"])
each_direction = pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])


@each_op
@each_direction
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
def test_directions_and_lengths(op: str, direction: str, lengths: Array | None) -> None:
    check(op, direction, lengths=lengths)


@each_op
def test_clip(op: str) -> None:
    check(op, "forward", clip=0.3)


@each_direction
def test_linear_before_reset(direction: str) -> None:
    check("gru", direction, linear_before_reset=True)


def test_peepholes() -> None:
    check("lstm", "bidirectional", lengths=LENGTHS, peepholes=floats(2, 3 * HIDDEN))


def test_input_forget() -> None:
    check("lstm", "forward", input_forget=True)


def test_every_activation_is_named() -> None:
    assert set(ACTIVATIONS) == set(ONNX_NAMES)


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n != "elu"])
def test_activations(name: str) -> None:
    """Without parameters: ONNX Runtime must be given them for some, so all are."""
    kind = ACTIVATIONS[name]
    attrs: dict[str, Any] = {"activations": (name,)}
    if kind.alpha is not None:
        attrs["alphas"] = (0.7,)
    if kind.beta is not None:
        attrs["betas"] = (0.4,)
    check("rnn", "forward", **attrs)


def test_parameters_go_to_the_activations_that_take_them() -> None:
    x = np.zeros((1, 1, 1), np.float32)
    w, r, b = (
        np.ones((1, 1, 1), np.float32),
        np.zeros((1, 1, 1), np.float32),
        np.zeros((1, 2), np.float32),
    )
    b[0, 0] = -2.0
    state = np.zeros((1, 1, 1), np.float32)

    def result(activation: str, **parameters: Any) -> float:
        attrs = {"activations": (activation,), **parameters}
        return float(run_op("rnn", [x, w, r, b, state], attrs)[0].item())

    assert result("leakyrelu") == pytest.approx(-0.02)
    assert result("leakyrelu", alphas=(0.5,)) == pytest.approx(-1.0)
    assert result("affine", alphas=(3.0,), betas=(1.0,)) == pytest.approx(-5.0)
    assert result("elu", alphas=(2.0,)) == pytest.approx(2 * np.expm1(-2.0))


NARROW = [np.int8, np.uint8, np.int16, np.uint16]


@pytest.mark.parametrize("dtype", NARROW)
def test_quantize(dtype: Any) -> None:
    x = floats(3, 4) * 20
    scale, zero = np.float32(0.07), np.array(3, dtype)
    (found,) = run_op("quantize", [x, scale, zero])
    np.testing.assert_array_equal(found, peer("QuantizeLinear", [x, scale, zero])[0])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_quantize_along_an_axis(axis: int) -> None:
    x = floats(3, 4, 5) * 20
    size = x.shape[axis]
    scale = np.abs(floats(size)) + np.float32(0.1)
    zero = _random.integers(-9, 9, size).astype(np.int8)
    (found,) = run_op("quantize", [x, scale, zero], {"axis": axis})
    np.testing.assert_array_equal(found, peer("QuantizeLinear", [x, scale, zero], axis=axis)[0])
    (back,) = run_op("dequantize", [found, scale, zero], {"axis": axis})
    np.testing.assert_array_equal(
        back, peer("DequantizeLinear", [found, scale, zero], axis=axis)[0]
    )


def test_quantize_rounds_halves_to_even_and_saturates() -> None:
    x = np.float32([0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9, np.inf, -np.inf])
    (found,) = run_op("quantize", [x, np.float32(1), np.int8(1)])
    assert found.tolist() == [1, 3, 3, 1, -1, 127, -128, 127, -128]


def test_quantize_of_integers() -> None:
    x = np.array([-7, 7, 10], np.int32)
    (found,) = run_op("quantize", [x, np.float32(2), np.uint8(10)])
    assert found.tolist() == [6, 14, 15]


@pytest.mark.parametrize("dtype", [*NARROW, np.int32])
def test_dequantize(dtype: Any) -> None:
    x = np.arange(1, 7).astype(dtype).reshape(2, 3)
    scale = np.float32(0.3)
    (found,) = run_op("dequantize", [x, scale])
    np.testing.assert_array_equal(found, x.astype(np.float32) * scale)
    if dtype != np.int32:
        zero = np.array(4, dtype)
        (found,) = run_op("dequantize", [x, scale, zero])
        np.testing.assert_array_equal(found, peer("DequantizeLinear", [x, scale, zero])[0])


def test_dequantize_does_not_overflow() -> None:
    x, zero = np.array([2**31 - 1], np.int32), np.array(-1, np.int32)
    assert run_op("dequantize", [x, np.float32(1), zero])[0].tolist() == [2.0**31]
