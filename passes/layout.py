"""Channel-blocked layout for convolutional networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from bireme.ir import Block, Builder, DType, Fusion, Graph, Op, TensorType, Value, evaluate, product
from bireme.ir.opdef import Array
from bireme.passes.assignment import Choice, Flow, Form, assign
from bireme.passes.layout_rules import (
    BLOCKED,
    ZERO,
    Lanes,
    channels,
    constant_lanes,
    pack_constant,
    rule_for,
    spare_lanes,
)
from bireme.passes.manager import Outcome, Pass, count
from bireme.passes.pack_matmul import pack_pairs
from bireme.passes.rewrite import remove_unused
from bireme.passes.values import producer_for_one, typical_sizes, weight_name
from bireme.targets.description import Description


@dataclass(frozen=True)
class Layout(Pass):
    """Gives convolutions, and what stands between them, a channel-blocked layout.

    Before::

        %0 = conv(%x, %w) {pads = [1, 1, 1, 1]}     // %x [n, 64, h, w], %w [64, 64, 3, 3]
        %1 = relu(%0)

    After, with blocks of 16 channels::

        %0 = pack_channels(%x) {block = 16}         // [n, 4, h, w, 16]
        %1 = pad(%0) {before = [0, 0, 1, 1, 0], after = [0, 0, 1, 1, 0]}
        %2 = conv(%1, %w) {in_block = 16, out_block = 16}     // %w [4, 4, 3, 3, 16, 16]
        %3 = relu(%2)
        %4 = unpack_channels(%3) {channels = 64}

    Done for floats of up to 32 bits. Weights are packed when the model is compiled, with zeros up
    to whole blocks. Padding becomes an op before the convolution, so that what makes its operand
    can store into a padded buffer. Ops
    between convolutions work on blocks where `layout_rules` allows it. Which do is the choice for
    which conversions and padding cost the fewest bytes, at the typical sizes of symbols
    (`assignment`); `bireme inspect` lists the conversions that are left. A convolution of a concat
    whose parts fill no whole blocks becomes a sum of convolutions. Convolutions of few input
    channels read plain tensors (`in_block` 1), depthwise ones have a filter for each lane; groups
    are merged until they hold whole blocks. Groups so narrow that the zeros would cost too much,
    and fewer than a quarter of a block of filters, stay plain.

    Filters of bfloat16 stand in pairs of channels.
    """

    name: ClassVar[str] = "layout"

    def run(self, graph: Graph, description: Description, /) -> Outcome:
        hints = {name: sizes.typical for name, sizes in graph.all_symbols.items()}
        tally = _Tally()
        settings = _Settings(description.channel_block, typical_sizes(graph))
        _layout_block(graph.body, settings, tally)
        remove_unused(graph.body)
        if not tally.blocked:
            return Outcome(False)
        moves = [op for op in graph.walk() if op.name in ("pack_channels", "unpack_channels")]
        moved = sum(_bytes(op.result.type, hints) for op in moves)
        return Outcome(
            True,
            f"blocked {tally.blocked} of {count(tally.convolutions, 'convolution')}"
            f" with {count(len(moves), 'conversion')} ({moved / 1e6:.2f} MB)",
        )


@dataclass(frozen=True)
class _Settings:
    """Channels in a block, and typical sizes of symbols."""

    size: int
    hints: Mapping[str, int]


@dataclass
class _Tally:
    convolutions: int = 0
    blocked: int = 0


# --- convolutions ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Conv:
    """How a convolution is blocked: `takes` None means that its operand may have either form."""

    depthwise: bool
    takes: Form | None


def _blocked_conv(op: Op, block: int) -> _Conv | None:
    """How to block a convolution; None when it stays plain."""
    if op.name != "conv" or op.attrs["out_block"] > 1:
        return None
    x, w = op.operands
    count, filters = channels(x.type) or x.type.shape[1], w.type.shape[0]
    if x.type.dtype not in BLOCKED or w.constant is None:
        return None
    if not isinstance(count, int) or not isinstance(filters, int) or 4 * filters < block:
        return None
    groups = op.attrs["groups"]
    if groups == 1:
        return _Conv(depthwise=False, takes=None if count < block else Form.BLOCKED)
    if groups == count == filters:
        return _Conv(depthwise=True, takes=Form.BLOCKED)
    whole = count // groups % block == 0 and filters // groups % block == 0
    return _Conv(depthwise=False, takes=Form.BLOCKED) if whole else None


def _merge_groups(op: Op, block: int) -> None:
    """Merges groups of a convolution until each has whole blocks of channels and filters, or all of
    few groups; weights are zero where groups did not see each other.

    The zeros cost less than leaving the blocked layout.
    """
    x, w = op.operands
    weights, groups = w.constant, op.attrs["groups"]
    count = x.type.shape[1]
    if op.attrs["out_block"] > 1 or weights is None or count == groups:
        return
    filters, depth = weights.shape[0] // groups, weights.shape[1]
    merged = next(
        n
        for n in range(1, groups + 1)
        if n == groups or groups % n == n * depth % block == n * filters % block == 0
    )
    if not 1 < merged <= _MOST_MERGED_GROUPS:
        return
    wide = np.zeros((weights.shape[0], merged * depth, *weights.shape[2:]), weights.dtype)
    for number in range(groups):
        rows = slice(number * filters, (number + 1) * filters)
        first = number % merged * depth
        wide[rows, first : first + depth] = weights[rows]
    b = Builder(op.graph, before=op)
    operands = [x, b.constant(wide, weight_name(w))]
    new = b.op("conv", operands, **{**op.attrs, "groups": groups // merged})
    if _blocked_conv(new, block) is None:
        new.erase()
        return
    op.replace_with(new.results)


def _split_over_concat(op: Op, block: int) -> None:
    """Makes a convolution of a concat a sum of convolutions, where the parts fill no whole blocks.

    Such a concat would have to be made in the plain layout, and packed again. Done where adding up
    the results moves less than that.
    """
    x, w = op.operands
    concat, weights = producer_for_one(x, "concat"), w.constant
    if concat is None or weights is None or concat.attrs["axis"] != 1 or op.attrs["groups"] != 1:
        return
    counts = [channels(v.type) for v in concat.operands]
    known = [count for count in counts if count is not None]
    broken = any(count % block for count in known[:-1])
    moves_less = weights.shape[0] * (len(counts) - 1) <= weights.shape[1]
    if len(known) < len(counts) or not broken or not moves_less:
        return
    b = Builder(op.graph, before=op)
    total: Value | None = None
    ends = np.cumsum(known)[:-1]
    for part, filters in zip(concat.operands, np.split(weights, ends, axis=1), strict=True):
        constant = b.constant(np.ascontiguousarray(filters), weight_name(w))
        conv: Value = b.conv(part, constant, **op.attrs)
        total = conv if total is None else b.add(conv, total)
    assert total is not None
    op.replace_with([total])
    concat.erase()


def _explicit_padding(op: Op) -> None:
    """Moves a convolution's padding into a `pad` of its operand."""
    pads = op.attrs["pads"]
    if not any(pads):
        return
    b = Builder(op.graph, before=op)
    half = len(pads) // 2
    padded = b.pad(op.operands[0], before=(0, 0, *pads[:half]), after=(0, 0, *pads[half:]))
    attrs = {**op.attrs, "pads": (0,) * len(pads)}
    conv = b.op("conv", [padded, op.operands[1]], **attrs)
    op.replace_with(conv.results)


def pack_filters(weights: Array, in_block: int, out_block: int) -> Array:
    """`[O, C, *K]` as `[O/ob, C/ib, *K, ib, ob]`, with zeros up to whole blocks."""
    filters, count, *kernel = weights.shape
    spare = [(0, -filters % out_block), (0, -count % in_block), *[(0, 0)] * len(kernel)]
    padded = np.pad(weights, spare) if any(after for _, after in spare) else weights
    blocked = padded.reshape(-1, out_block, padded.shape[1] // in_block, in_block, *kernel)
    return np.ascontiguousarray(np.moveaxis(blocked, (3, 1), (-2, -1)))


def pack_depthwise(weights: Array, block: int) -> Array:
    """`[C, 1, *K]` as `[C/b, *K, b]`, with zeros up to whole blocks."""
    count, _, *kernel = weights.shape
    padded = np.pad(weights[:, 0], [(0, -count % block), *[(0, 0)] * len(kernel)])
    return np.ascontiguousarray(np.moveaxis(padded.reshape(-1, block, *kernel), 1, -1))


# --- one block ------------------------------------------------------------------------------------


def _layout_block(block: Block, settings: _Settings, tally: _Tally) -> None:
    size = settings.size
    for op in block.ops:
        for inner in op.blocks:
            _layout_block(inner, settings, tally)
        if op.name == "conv" and op.attrs["groups"] > 1:
            _merge_groups(op, size)
        elif _blocked_conv(op, size):
            _split_over_concat(op, size)
    for op in block.ops:
        tally.convolutions += op.name == "conv"
        if _blocked_conv(op, size):
            _explicit_padding(op)
    if not any(_blocked_conv(op, size) for op in block.ops):
        return
    plan = _Plan(block, size, settings.hints)
    tally.blocked += len(plan.convs)
    _Rewriter(settings, plan).rewrite(block)


# Merging more groups would cost more in zeros than the blocked layout gains.
_MOST_MERGED_GROUPS = 8
# A view moves nothing, but nothing fuses across it.
_VIEW_COST = 1000
# Between equals, the op fuses with the convolution before it and the conversion comes later.
_PLAIN_POINTWISE_COST = 1


class _Plan:
    """The form of every op of a block."""

    def __init__(self, block: Block, size: int, hints: Mapping[str, int]) -> None:
        self._size = size
        self._hints = hints
        self._lanes: dict[Value, Lanes] = {}
        ops = block.ops
        self.convs: dict[Op, _Conv] = {}
        for op in ops:
            conv = _blocked_conv(op, size)
            if conv is not None:
                self.convs[op] = conv
        self._number = {op: i for i, op in enumerate(ops)}
        self._outside = len(ops)
        choices = [self._choice(op) for op in ops]
        choices.append(Choice(Form.PLAIN))
        produced = [v for op in ops for v in op.results if op.name != "constant"]
        foreign = dict.fromkeys(
            v
            for op in ops
            for v in op.operands
            if v.owner not in self._number and v.constant is None
        )
        flows = [self._flow(v) for v in (*foreign, *produced) if channels(v.type)]
        forms = assign(choices, flows)
        self.form = {op: forms[i] for op, i in self._number.items()}

    def _choice(self, op: Op) -> Choice:
        if op in self.convs:
            self._lanes[op.result] = ZERO
            return Choice(Form.BLOCKED)
        rule = rule_for(op)
        if rule is None or not rule.fits(op, self._size) or not self._is_safe(op):
            return Choice(Form.PLAIN)
        if op.definition.fusion is Fusion.POINTWISE:
            # It will be part of the kernel before it, and its result may never be stored.
            return Choice(plain_cost=_PLAIN_POINTWISE_COST)
        extra = [
            _blocked_bytes(v.type, self._size, self._hints) - _bytes(v.type, self._hints)
            for v in op.results
            if channels(v.type)
        ]
        return Choice(blocked_cost=2 * sum(extra))

    def _is_safe(self, op: Op) -> bool:
        """Whether the spare lanes of the result, if there are any, hold finite numbers."""
        count = channels(op.result.type) or channels(op.operands[0].type)
        assert count is not None
        if count % self._size == 0:
            return True
        lanes = spare_lanes(op, [self._operand_lanes(op, i) for i in range(len(op.operands))])
        if lanes is None:
            return False
        self._lanes[op.result] = lanes
        return True

    def _operand_lanes(self, op: Op, index: int) -> Lanes | None:
        value = op.operands[index]
        if value.constant is not None:
            return constant_lanes(op, index)
        # Packing a plain tensor puts zeros there.
        return self._lanes.get(value, ZERO) | ZERO if channels(value.type) else None

    def _flow(self, value: Value) -> Flow:
        owner = value.owner
        producer = self._outside if owner is None else self._number.get(owner, self._outside)
        readers: dict[int, None] = {}
        for user, _ in value.uses:
            conv = self.convs.get(user)
            if conv is None or conv.takes is not None:
                readers[self._number.get(user, self._outside)] = None
        return Flow(producer, tuple(readers), self._conversion(value.type))

    def _conversion(self, tensor: TensorType) -> int | None:
        """Bytes read and written by a conversion; None for types that cannot be converted."""
        if tensor.dtype is DType.BOOL:
            return None
        if is_reshape(tensor, self._size):
            return _VIEW_COST
        return 2 * _blocked_bytes(tensor, self._size, self._hints)


def is_reshape(tensor: TensorType, block: int) -> bool:
    """Whether a conversion between `[N, C, *S]` and the blocked form moves nothing."""
    count = channels(tensor)
    return count is not None and count % block == 0 and all(d == 1 for d in tensor.shape[2:])


def _bytes(tensor: TensorType, hints: Mapping[str, int]) -> int:
    return evaluate(product(tensor.shape), hints) * tensor.dtype.bytes


def _blocked_bytes(tensor: TensorType, block: int, hints: Mapping[str, int]) -> int:
    count = channels(tensor)
    assert count is not None
    return _bytes(tensor, hints) // count * (-(-count // block) * block)


# --- rewriting ------------------------------------------------------------------------------------


@dataclass
class _Rewriter:
    """Rewrites a block as planned. `_blocked` has the blocked forms of plain values."""

    settings: _Settings
    plan: _Plan
    _blocked: dict[Value, Value] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return self.settings.size

    def rewrite(self, block: Block) -> None:
        for op in block.ops:
            if self.plan.form[op] is Form.PLAIN:
                continue
            b = Builder(op.graph, before=op)
            new = self._conv(op, b) if op in self.plan.convs else self._other(op, b)
            self._blocked[op.result] = new
            if any(self.plan.form.get(user) is not Form.BLOCKED for user, _ in op.result.uses):
                plain = self._unpack(new, op.result.type, b)
                self._blocked[plain] = new
                op.replace_with([plain])
            # Otherwise the plain op has no readers left once they are rewritten.

    def _other(self, op: Op, b: Builder) -> Value:
        rule = rule_for(op)
        assert rule is not None
        rank = max(v.type.rank for v in (*op.operands, *op.results))
        return rule.rewrite(op, lambda value, fill: self._pack(value, rank, fill, b), b)

    def _conv(self, op: Op, b: Builder) -> Value:
        x, w = op.operands
        weights = w.constant
        assert weights is not None
        conv = self.plan.convs[op]
        plain = conv.takes is None and x not in self._blocked
        in_block = 1 if plain else self.size
        if conv.depthwise:
            packed = pack_depthwise(weights, self.size)
        else:
            packed = pack_filters(weights, in_block, self.size)
        attrs = {**op.attrs, "in_block": in_block, "out_block": self.size}
        if not plain and not conv.depthwise and op.attrs["groups"] == 1:
            attrs["spare"] = -weights.shape[1] % self.size
        if not plain and not conv.depthwise and x.type.dtype is DType.BF16:
            packed, attrs["pair"] = pack_pairs(packed), 2
        operand = x if plain else self._pack(x, x.type.rank, 0.0, b)
        filters = b.constant(packed, weight_name(w))
        return b.op("conv", [operand, filters], **attrs).result

    def _pack(self, value: Value, rank: int, fill: float, b: Builder) -> Value:
        """The blocked form of an operand of `rank` axes, as an op made from it can read it."""
        if value in self._blocked:
            return self._blocked[value]
        array = value.constant
        if value.type.elements == 1:
            result: Value = value if value.type.rank == 0 else b.reshape(value, shape=())
            return result
        if array is not None:
            packed = pack_constant(array, rank, self.size, fill)
            return b.constant(packed, weight_name(value))
        batch, count, *spatial = value.type.shape
        if count == 1:
            return b.reshape(value, shape=(batch, 1, *spatial, 1))  # type: ignore[no-any-return]
        if is_reshape(value.type, self.size):
            shape = (batch, count // self.size, *spatial, self.size)
            packed_value: Value = b.reshape(value, shape=shape)
        else:
            packed_value = b.pack_channels(value, block=self.size)
        self._blocked[value] = packed_value
        return packed_value

    def _unpack(self, blocked: Value, tensor: TensorType, b: Builder) -> Value:
        """The plain form, of type `tensor`: that of the op replaced."""
        batch, _, *spatial, _ = blocked.type.shape
        count = tensor.shape[1]
        full = TensorType(tensor.dtype, (batch, count, *spatial))
        if is_reshape(full, self.size):
            return b.reshape(blocked, shape=tensor.shape)  # type: ignore[no-any-return]
        plain: Value = b.unpack_channels(blocked, channels=count)
        if tensor.rank == full.rank:
            return plain
        return b.reshape(plain, shape=tensor.shape)  # type: ignore[no-any-return]
