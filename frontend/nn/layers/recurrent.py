"""LSTM and GRU over sequences."""

from __future__ import annotations

from typing import ClassVar

from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.frontend.nn import init
from bireme.frontend.nn.module import Module
from bireme.frontend.nn.tensor import Tensor
from bireme.frontend.nn.variable import Parameter


class _Recurrent(Module):
    """Parameters of layers and directions, `weight_ih_l0` and so on, as PyTorch names them.

    `dropout` between the layers is that of training: nothing is dropped here.
    """

    gates: ClassVar[int]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.directions = 2 if bidirectional else 1
        around = init.fan_in_uniform(hidden_size)
        rows = self.gates * hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * self.directions
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (rows, width),
                "weight_hh": (rows, hidden_size),
            }
            if bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            for suffix in self._suffixes(layer):
                for name, shape in shapes.items():
                    setattr(self, name + suffix, Parameter(shape, around))

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self.directions]

    def _cells(self, layer: int) -> list[list[Tensor]]:
        """weight_ih, weight_hh, bias_ih, bias_hh of each direction."""
        no_bias = [F.zeros((self.gates * self.hidden_size,))] * 2
        names = ["weight_ih", "weight_hh"] + (["bias_ih", "bias_hh"] if self.bias else [])
        return [
            [getattr(self, name + suffix) for name in names] + ([] if self.bias else no_bias)
            for suffix in self._suffixes(layer)
        ]

    def _swap(self, x: Tensor) -> Tensor:
        """Between the caller's order of axes and [S, B, ...]."""
        return x.transpose(0, 1) if self.batch_first else x

    def _start(self, state: Tensor, layer: int) -> Tensor:
        """[L·D, B, H] → one layer's [D, B, H]."""
        return state[layer * self.directions : (layer + 1) * self.directions]

    def extra_repr(self) -> str:
        return (
            f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, "
            f"batch_first={self.batch_first}, bidirectional={self.directions == 2}"
        )


class LSTM(_Recurrent):
    """[S, B, I] (or [B, S, I] with `batch_first`) → outputs [S, B, D·H] and the last (h, c)."""

    gates = 4

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """`state` is (h, c), each [L·D, B, H], else 0; `lengths` int32[B] ends rows early."""
        y = self._swap(x)
        last: list[tuple[Tensor, Tensor]] = []
        for layer in range(self.num_layers):
            start = (
                None
                if state is None
                else (self._start(state[0], layer), self._start(state[1], layer))
            )
            y, end = F.lstm(y, self._cells(layer), start, lengths)
            last.append(end)
        return self._swap(y), (F.cat([h for h, _ in last]), F.cat([c for _, c in last]))


class GRU(_Recurrent):
    """[S, B, I] (or [B, S, I] with `batch_first`) → outputs [S, B, D·H] and the last h."""

    gates = 3

    def forward(
        self, x: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`state` is h, [L·D, B, H], 0 unless given; `lengths` int32[B] ends rows early."""
        y = self._swap(x)
        last: list[Tensor] = []
        for layer in range(self.num_layers):
            start = None if state is None else self._start(state, layer)
            y, end = F.gru(y, self._cells(layer), start, lengths)
            last.append(end)
        return self._swap(y), F.cat(last)
