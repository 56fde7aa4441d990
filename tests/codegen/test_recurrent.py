"""LSTM, GRU and RNN against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.codegen.kernel import emit_kernel
from bireme.codegen.spec import kernel_spec
from bireme.ir import DType, TensorType, ceildiv, evaluate, symbol
from bireme.targets.x86.chips import LEVELS
from tests.codegen.compare import check, sample
from tests.codegen.kernels import group

N, S = symbol("n"), symbol("s")
BLOCK = 16
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
ACTIVATIONS = {"lstm": ("sigmoid", "tanh", "tanh"), "gru": ("sigmoid", "tanh"), "rnn": ("tanh",)}
LOOSE = {DType.F16: {"rtol": 0.02, "atol": 0.02}, DType.BF16: {"rtol": 0.1, "atol": 0.1}}


def layer_phase(kernel):
    return emit_kernel(kernel_spec(kernel), LEVELS[0]).work.phase


def run(
    name, sizes, *, dtype=DType.F32, direction="forward", activations=None, lengths=False,
    peepholes=False, symbols=None, level=LEVELS[0], outputs=None, **attrs,
):  # fmt: skip
    """Checks one layer; `sizes` are steps, batch, inputs and hidden units."""
    steps, batch, inputs, hidden = sizes
    both = 2 if direction == "bidirectional" else 1
    gates, blocks = GATES[name], ceildiv(hidden, BLOCK)
    biases = gates + bool(attrs.get("linear_before_reset"))
    shapes = [
        (steps, batch, inputs),
        (both, blocks, gates, inputs, BLOCK),
        (both, blocks, hidden, gates, BLOCK),
        (both, blocks, biases, BLOCK),
    ]
    shapes += [(both, batch, hidden)] * (2 if name == "lstm" else 1)
    types = [TensorType(dtype, shape) for shape in shapes]
    if lengths:
        types.append(TensorType(DType.I32, (batch,)))
    if peepholes:
        types.append(TensorType(dtype, (both, 3 * hidden)))

    def body(b, *operands):
        kinds = activations or ACTIVATIONS[name] * both
        layer = b.op(name, operands, direction=direction, activations=kinds, block=BLOCK, **attrs)
        return [layer.results[i] for i in outputs or range(len(layer.results))]

    symbols = symbols or {}
    arrays = [sample(t, symbols, seed) for seed, t in enumerate(types)]
    # With larger weights, what rounding differs by would grow from step to step.
    scale = min(0.3, 1.5 / max(hidden, 1) ** 0.5)
    for i in (1, 2, 3):
        arrays[i] = (arrays[i].astype(np.float64) * scale).astype(arrays[i].dtype)
    if lengths:
        arrays[len(shapes)] = np.arange(evaluate(batch, symbols), dtype=np.int32) % 6
    kernel = group(types, body, kind="opaque")
    for calls in (1, 3) if layer_phase(kernel) != 0 else (2,):
        check(kernel, arrays, symbols, level=level, split=calls, **LOOSE.get(dtype, {}))


@pytest.mark.parametrize("name", GATES)
class TestEach:
    def test_small(self, name):
        run(name, (3, 2, 5, 7))
        run(name, (1, 1, 1, 1))

    def test_both_directions_with_lengths(self, name):
        run(name, (7, 8, 33, 40), direction="bidirectional", lengths=True)

    def test_symbolic(self, name):
        symbols = {"s": 5, "n": 3}
        run(name, (S, N, 16, 20), direction="reverse", symbols=symbols, lengths=True)

    @pytest.mark.parametrize("dtype", [DType.F64, DType.F16, DType.BF16], ids=repr)
    def test_element_types(self, name, dtype):
        run(name, (5, 2, 20, 24), dtype=dtype)

    @pytest.mark.parametrize("level", LEVELS[1:], ids=lambda level: level.name)
    def test_levels(self, name, level):
        run(name, (5, 4, 19, 24), direction="bidirectional", level=level)

    def test_clip(self, name):
        run(name, (4, 1, 5, 9), clip=0.4)

    def test_last_state_only(self, name):
        run(name, (4, 1, 5, 9), outputs=[1])

    @pytest.mark.parametrize(("inputs", "hidden"), [(16, 16), (7, 50), (67, 21), (1, 33)])
    def test_one_sequence_of_many_steps(self, name, inputs, hidden):
        run(name, (27, 1, inputs, hidden), direction="bidirectional")

    @pytest.mark.parametrize("level", LEVELS[1:], ids=lambda level: level.name)
    def test_one_sequence_on_older_levels(self, name, level):
        run(name, (19, 1, 10, 20), level=level)

    @pytest.mark.parametrize("n", [1, 2, 5, 7])
    def test_some_sequences_of_many_steps(self, name, n):
        run(name, (S, N, 9, 20), symbols={"s": 18, "n": n}, lengths=n > 1)

    @pytest.mark.parametrize("batch", [2, 3, 6])
    def test_sequences_that_do_not_fill_a_task(self, name, batch):
        run(name, (11, batch, 9, 32), direction="reverse")

    def test_directions_with_activations_of_their_own(self, name):
        first = ACTIVATIONS[name]
        run(
            name,
            (20, 1, 6, 20),
            direction="bidirectional",
            activations=(*first, *first[:-1], "relu"),
        )

    def test_inputs_without_features(self, name):
        run(name, (10, 1, 0, 5))

    def test_no_steps(self, name):
        run(name, (S, 2, 5, 9), symbols={"s": 0})


def test_lstm_variants():
    run("lstm", (5, 3, 20, 24), lengths=True, peepholes=True)
    run("lstm", (5, 3, 20, 24), lengths=True, peepholes=True, input_forget=True)


@pytest.mark.parametrize("linear", [False, True])
def test_gru_reset(linear):
    run("gru", (5, 3, 20, 24), linear_before_reset=linear, clip=1.0)
    run("gru", (20, 1, 12, 24), linear_before_reset=linear)
    run("gru", (S, N, 12, 24), linear_before_reset=linear, symbols={"s": 15, "n": 1})


@pytest.mark.parametrize(
    "kind",
    [
        "sigmoid", "relu", "affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid",
        "elu", "softsign", "softplus",
    ],
)  # fmt: skip
def test_activations(kind):
    run("rnn", (4, 1, 5, 19), activations=(kind,), alphas=(0.3,), betas=(0.7,))
    run("rnn", (4, 1, 5, 19), activations=(kind,))


def test_parameters_go_to_the_activations_that_take_them():
    run("rnn", (4, 1, 5, 9), activations=("tanh", "elu"), direction="bidirectional", alphas=(0.3,))


class TestDivided:
    """Layers whose steps are divided among threads, as one call and in phases."""

    @pytest.mark.parametrize("name", GATES)
    def test_one_sequence(self, name):
        run(name, (19, 1, 130, 400 if name == "rnn" else 240))

    @pytest.mark.parametrize("level", LEVELS[1:], ids=lambda level: level.name)
    def test_older_levels(self, level):
        run("gru", (9, 1, 130, 240), level=level)

    @pytest.mark.parametrize("linear", [False, True])
    def test_some_sequences_with_lengths(self, linear):
        run("gru", (10, 3, 200, 224), lengths=True, linear_before_reset=linear)

    def test_many_blocks_and_a_last_one_that_is_incomplete(self):
        sizes = (9, 2, 40, 33 * BLOCK + 5)
        run("lstm", sizes, lengths=True, peepholes=True, direction="reverse")

    @pytest.mark.parametrize("n", [0, 1, 5])
    def test_any_number_of_sequences(self, n):
        run("lstm", (S, N, 100, 256), symbols={"s": 11, "n": n})

    def test_any_number_of_steps(self):
        run("rnn", (S, 1, 100, 416), symbols={"s": 0})
        run("rnn", (S, 1, 100, 416), symbols={"s": 8})

    def test_what_is_not_worth_dividing(self):
        run("lstm", (4, 1, 16, 16))
        run("lstm", (4, 1, 200, 256), direction="bidirectional")
