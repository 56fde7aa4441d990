"""A depthwise convolution in one kernel with the convolution in front of it: whether, and how the
work is divided.

An analytic choice between costs in multiply-adds of a core. One kernel spares writing and reading
what lies between the two. It reads the operand of the first convolution once for every group of
channel blocks, where that is too large for a cache, and calculates rows that two bands of the
result share twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bireme.ir import Dim, Op, Value
from bireme.passes.values import convolution_behind, pads_with_zeros

# Zeros above, left, below and right.
Border = tuple[int, int, int, int]

# Multiply-adds that take as long as moving a byte to or from the third-level cache, half of which
# the calculation hides.
_A_BYTE = 0.4
# Bytes that stay in a usual second-level cache, and what of them a task may fill with what lies
# between the convolutions.
_NEAR_BYTES = 640 << 10
_BAND_BYTES = 384 << 10
# Numbers of threads that tasks should divide among.
_THREADS = (1, 2, 4)
# What a tile of one column block costs more than one of two.
_NARROW = 1.01
# Positions in a row that register tiles take at a time, and what of a tile's time is lost where a
# row ends in it: by itself a 1×1 convolution takes all rows as one.
_TILE = 14
_SHORT = 0.15
# Channels in a block, and blocks that a task may take.
_BLOCK = 16
GROUPS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Chain:
    """Sizes of the two convolutions. The first one makes `blocks` blocks of channels of `between`
    rows and `width` positions (a border included), each element of `element_bytes` and the sum of
    `depth` products; its operand has `operand_bytes`. The second one makes
    `rows` rows, each of which reads `reach` rows, `stride` behind those of the row before; the
    first `above` rows that it reads are a border, as are `beside` positions of a row.
    """

    batch: int
    blocks: int
    depth: int
    operand_bytes: int
    between: int
    width: int
    rows: int
    reach: int
    stride: int
    above: int
    beside: int
    element_bytes: int = 4

    def rows_read(self, rows: int) -> int:
        """Rows, those of the border included, that so many rows of the result are made from."""
        return (rows - 1) * self.stride + self.reach

    @property
    def line_bytes(self) -> int:
        """Bytes of a row of one block of what lies between the two convolutions."""
        return self.width * _BLOCK * self.element_bytes

    @property
    def products(self) -> int:
        """Multiply-adds of the first convolution on one element of the batch."""
        return self.between * self.line_bytes // self.element_bytes * self.blocks * self.depth

    @property
    def bytes_between(self) -> int:
        """Bytes of what lies between the two convolutions, for one element of the batch."""
        return self.between * self.line_bytes * self.blocks


@dataclass(frozen=True)
class Division:
    """A task makes `rows` rows of the result in `group` blocks of channels."""

    rows: int
    group: int


def divide(chain: Chain) -> Division:
    """The division into tasks that costs least."""
    return min(_divisions(chain), key=lambda d: _cost(chain, d))


def is_faster(chain: Chain) -> bool:
    """Whether one kernel takes less time than two."""
    far = chain.bytes_between > _NEAR_BYTES
    apart = chain.products + _A_BYTE * chain.operand_bytes
    apart += 2 * chain.bytes_between * (_A_BYTE if far else _A_BYTE / 4)
    return _cost(chain, divide(chain)) < apart


def _divisions(chain: Chain) -> Iterator[Division]:
    line = chain.line_bytes
    yield Division(1, 1)
    for bands in range(1, chain.rows + 1):
        rows = -(-chain.rows // bands)
        for group in GROUPS:
            if group <= chain.blocks and group * chain.rows_read(rows) * line <= _BAND_BYTES:
                yield Division(rows, group)


def _cost(chain: Chain, division: Division) -> float:
    bands, groups = -(-chain.rows // division.rows), -(-chain.blocks // division.group)
    made = 0
    for band in range(bands):
        first, last = band * division.rows, min((band + 1) * division.rows, chain.rows)
        top, end = first * chain.stride, (last - 1) * chain.stride + chain.reach
        made += min(end - chain.above, chain.between) - max(top - chain.above, 0)
    twice = max(1.0, made / max(1, chain.between))
    band_bytes = chain.rows_read(division.rows) * chain.line_bytes * division.group
    near = band_bytes + chain.operand_bytes / bands <= _NEAR_BYTES
    passes = 1 if near else groups
    narrow = _NARROW if division.group == 1 else 1.0
    positions = chain.width - chain.beside
    spare = -(-positions // _TILE) * _TILE / positions - 1
    products = chain.products * narrow * (1 + _SHORT * spare)
    busy = twice * (products + _A_BYTE * chain.operand_bytes * passes)
    return busy * _idle(chain, division, bands * groups)


def _idle(chain: Chain, division: Division, tasks: int) -> float:
    """How much longer threads take that have no equal parts: 1 where they have."""
    tasks *= chain.batch
    share = division.group * division.rows / (chain.batch * chain.blocks * chain.rows)
    waits = [max(1.0, -(-tasks // n) * n * share) if n > 1 else 1.0 for n in _THREADS]
    return sum(waits) / len(waits)


@dataclass(frozen=True)
class Link:
    """A depthwise convolution `second` reads `middle`, made by the convolution `first` and
    element-wise ops, with a `border` of zeros around it.
    """

    first: Op
    middle: Value
    border: Border
    second: Op


def link_of(second: Op) -> Link | None:
    """What a depthwise convolution reads, when that comes from a dense convolution; both with
    blocks of channels, direct, in two dimensions.
    """
    if not _is_plain(second) or not is_depthwise(second):
        return None
    middle, border = second.operands[0], (0, 0, 0, 0)
    pad = middle.owner
    if pad is not None and pads_with_zeros(pad):
        before, after = pad.attrs["before"], pad.attrs["after"]
        outer = {side[axis] for side in (before, after) for axis in (0, 1, 4)}
        if outer != {0}:
            return None
        middle, border = pad.operands[0], (*before[2:4], *after[2:4])
    first = _dense_behind(middle)
    return None if first is None else Link(first, middle, border, second)


def _dense_behind(middle: Value) -> Op | None:
    """The convolution that a value comes from, when it is dense."""
    conv = convolution_behind(middle)
    if conv is None or not _is_plain(conv) or is_depthwise(conv) or conv.attrs["groups"] != 1:
        return None
    return conv


def is_depthwise(conv: Op) -> bool:
    """Whether a blocked convolution has one filter for each channel."""
    return conv.operands[1].type.rank == len(conv.attrs["strides"]) + 2


def _is_plain(op: Op) -> bool:
    if op.name != "conv" or op.attrs["out_block"] == 1 or len(op.attrs["strides"]) != 2:
        return False
    # A row of one position would stand along the other axis.
    direct = not op.attrs["winograd"] and not any(op.attrs["pads"])
    weights = op.operands[1].owner
    stored = weights is None or weights.name == "constant"
    return direct and stored and op.result.type.shape[3] != 1


def chain_of(link: Link, typical: Callable[[Dim], int]) -> Chain:
    """The sizes of two convolutions; `typical` gives a number for one that is not known."""
    first, second = link.first, link.second
    above, left, _, right = link.border
    batch, blocks, between, width = (max(1, typical(d)) for d in first.result.type.shape[:4])
    attrs, taps = second.attrs, typical(second.operands[1].type.shape[1])
    return Chain(
        batch=batch,
        blocks=blocks,
        depth=typical(first.operands[1].type.elements) // (blocks * first.attrs["out_block"]),
        operand_bytes=typical(first.operands[0].type.bytes) // batch,
        between=between,
        width=left + width + right,
        rows=max(1, typical(second.result.type.shape[2])),
        reach=(taps - 1) * attrs["dilations"][0] + 1,
        stride=attrs["strides"][0],
        above=above,
        beside=left + right,
        element_bytes=link.middle.type.dtype.bytes,
    )
