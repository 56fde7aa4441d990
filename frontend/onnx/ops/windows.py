"""Kernel, strides, dilations and padding of convolutions and pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bireme.frontend.onnx.emit import Tensor
from bireme.frontend.onnx.node import Node
from bireme.ir import BiremeError, Dim, ceildiv

AUTO_PAD = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


@dataclass
class Window:
    """Attributes of a window op; automatic padding may make `before` and `after` expressions."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[Dim]
    after: list[Dim]

    @property
    def pads(self) -> tuple[int, ...] | None:
        """The padding as numbers, or None when it depends on the input's size."""
        found = tuple(p for p in (*self.before, *self.after) if isinstance(p, int))
        return found if len(found) == 2 * len(self.kernel) else None


def spatial(x: Tensor) -> tuple[Dim, ...]:
    """Sizes of the spatial axes. Raises BM1006 when there are none."""
    if x.rank < 3:
        raise BiremeError("BM1006", f"expected [N, C, spatial...]; found {x.type}")
    return x.shape[2:]


def window(n: Node, sizes: Sequence[Dim], kernel: Sequence[Dim]) -> Window:
    """Reads strides, dilations, pads and auto_pad. Raises BM1006, BM1007."""
    rank = len(sizes)
    taps = [k for k in kernel if isinstance(k, int)]
    if len(taps) != len(kernel):
        raise BiremeError("BM1007", f"the kernel's size {list(kernel)} is not known")
    if len(taps) != rank or any(k < 1 for k in taps):
        raise BiremeError("BM1006", f"kernel {taps} for {rank} spatial axes")
    strides = n.integers("strides", [1] * rank)
    dilations = n.integers("dilations", [1] * rank)
    pads = n.integers("pads", [0] * (2 * rank))
    auto = n.choice("auto_pad", "NOTSET", AUTO_PAD)
    if len(strides) != rank or len(dilations) != rank or len(pads) != 2 * rank:
        raise BiremeError("BM1006", f"strides, dilations and pads do not fit {rank} spatial axes")
    if min(*strides, *dilations) < 1:
        raise BiremeError("BM1006", f"strides {strides} and dilations {dilations} must be positive")
    before: list[Dim] = list(pads[:rank])
    after: list[Dim] = list(pads[rank:])
    if auto != "NOTSET":
        before, after = [0] * rank, [0] * rank
    if auto.startswith("SAME"):
        for i, size in enumerate(sizes):
            reach = (taps[i] - 1) * dilations[i] + 1
            spare = (ceildiv(size, strides[i]) - 1) * strides[i] + reach - size
            total = n.b.bounds.maximum(spare, 0)
            small = total // 2
            large = total - small
            before[i], after[i] = (small, large) if auto == "SAME_UPPER" else (large, small)
    return Window(taps, strides, dilations, before, after)


def some_windows(n: Node, result: Tensor) -> Tensor:
    """`result` of a window op, which has at least one window along each spatial axis."""
    for size in result.shape[2:]:
        n.b.require(size, 1)
    return result
