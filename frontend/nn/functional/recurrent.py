"""LSTM and GRU layers with PyTorch's parameters on the op table's.

PyTorch orders an LSTM's gates i f g o and a GRU's r z n; the op table has ONNX's i o f c and z r h.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bireme.frontend.nn.functional.shapes import cat, zeros
from bireme.frontend.nn.tensor import Tensor, TensorLike, ops, tensor

# For each gate of the op table, its place in PyTorch's order.
_LSTM_GATES = np.array([0, 3, 1, 2])
_GRU_GATES = np.array([1, 0, 2])

# One direction's (weight_ih, weight_hh, bias_ih, bias_hh).
Cell = Sequence[TensorLike]


def _gates(weight: TensorLike, order: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tensor:
    """[G·H, ...] with its gates in another order, as [1, G·H, ...]."""
    value = tensor(weight)
    rows, *rest = value.shape
    split = value.reshape(len(order), rows // len(order), *rest)
    return split[order].reshape(1, rows, *rest)


def _weights(
    cells: Sequence[Cell], order: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> tuple[Tensor, Tensor, Tensor]:
    """(w [D, G·H, I], r [D, G·H, H], b [D, 2·G·H]) of the directions."""
    w, r, b_ih, b_hh = (cat([_gates(cell[i], order) for cell in cells], axis=0) for i in range(4))
    return w, r, cat([b_ih, b_hh], axis=1)


def _merge(y: Tensor) -> Tensor:
    """[S, D, B, H] → [S, B, D·H]."""
    s, d, b, h = y.shape
    return y.permute(0, 2, 1, 3).reshape(s, b, d * h) if d != 1 else y.reshape(s, b, h)


def _direction(cells: Sequence[Cell]) -> str:
    return "bidirectional" if len(cells) == 2 else "forward"


def lstm(
    x: TensorLike,
    cells: Sequence[Cell],
    state: tuple[TensorLike, TensorLike] | None = None,
    lengths: TensorLike | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """One LSTM layer (Hochreiter & Schmidhuber, 1997) on x [S, B, I].

    `cells` has one entry, or two for both directions (D). Gives y [S, B, D·H] and the last (h, c),
    each [D, B, H]. `lengths` int32[B] ends each sequence early: later outputs are 0, and the last
    state is that of the last valid step.
    """
    value = tensor(x)
    w, r, b = _weights(cells, _LSTM_GATES)
    if state is None:
        start = zeros((len(cells), value.shape[1], r.shape[-1]), value.dtype)
        state = (start, start)
    y, h, c = ops(
        "lstm",
        value,
        w,
        r,
        b,
        *state,
        lengths,
        direction=_direction(cells),
        activations=("sigmoid", "tanh", "tanh") * len(cells),
    )
    return _merge(y), (h, c)


def gru(
    x: TensorLike,
    cells: Sequence[Cell],
    state: TensorLike | None = None,
    lengths: TensorLike | None = None,
) -> tuple[Tensor, Tensor]:
    """One GRU layer (Cho et al., 2014, with the reset gate after the product, as PyTorch has it).

    Shapes as for `lstm`, with one state h.
    """
    value = tensor(x)
    w, r, b = _weights(cells, _GRU_GATES)
    if state is None:
        state = zeros((len(cells), value.shape[1], r.shape[-1]), value.dtype)
    y, h = ops(
        "gru",
        value,
        w,
        r,
        b,
        state,
        lengths,
        direction=_direction(cells),
        activations=("sigmoid", "tanh") * len(cells),
        linear_before_reset=True,
    )
    return _merge(y), h
