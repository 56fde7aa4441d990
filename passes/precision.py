"""Reduced precision: contractions of bfloat16 or float16 with float32 sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from bireme.ir import BiremeError, Block, Builder, DType, Fusion, Graph, Op, Value, reference
from bireme.ir.data import made_up_inputs
from bireme.ir.opdef import Array
from bireme.passes.guard import (
    Feed,
    Meter,
    PrecisionReport,
    contractions,
    judge,
    keep_limit,
)
from bireme.passes.manager import Outcome, Pass, count
from bireme.passes.pack_matmul import pack_pairs
from bireme.passes.rewrite import remove_unused
from bireme.passes.values import pads_with_zeros, typical_sizes, weight_name
from bireme.passes.winograd import winograd_tile
from bireme.targets.description import Description

# The element types to reduce to, by what they are called on the command line.
REDUCED = {"bf16": DType.BF16, "fp16": DType.F16}
AUTO, FLOAT32 = "auto", "float32"
PRECISIONS = (FLOAT32, *REDUCED, AUTO)
# Ops that only move or choose elements: done on reduced elements, they give the reduced result.
_MOVES = frozenset({
    "concat", "expand", "max_pool", "pack_channels", "pad", "reshape", "slice", "transpose",
    "unpack_channels",
})  # fmt: skip
# Readers that take a reduced value as well, in the kernel that they are in.
_TOLERANT = (Fusion.POINTWISE, Fusion.REDUCTION)
# Ops that make a residual stream: what they read rounded stays in all that follows.
_ADDS = frozenset({"add", "sub"})
# An element that so many products are made of is stored in float32 besides for them: that takes
# some 2 % of the time of the products.
_PRODUCTS_PER_COPY = 512
# Columns of a matrix of any number of them.
_TYPICAL_COLUMNS = 64


@dataclass(frozen=True)
class Precision(Pass):
    """Lets contractions multiply elements of 16 bits; sums stay float32.

    Before::

        %1 = conv(%0, %w)                        // float32, %w [4, 4, 3, 3, 16, 16]
        %2 = relu(%1)

    After, with `bf16`::

        %1 = cast(%0) {dtype = bfloat16}
        %2 = conv(%1, %w) {pair = 2, wide = true}     // %w bfloat16 [4, 4, 3, 3, 8, 16, 2]
        %3 = relu(%2)                            // float32

    Everything between contractions is calculated in float32. A cast joins the kernel that makes the
    value, through padding and other moves, so that the value is stored with 16 bits; element-wise
    ops and reductions that read it too read what was stored. Not so a residual connection, in which
    rounding would add up from layer to layer: it reads float32, where storing both costs next to
    nothing beside the products. Inputs, outputs and values that no reduced contraction reads keep
    their type.

    Contractions stay in float32 where nothing reads reduced operands (plain layouts), where
    Winograd's form, which is float32, is faster (unless `winograd` is off), in loops, where results
    decide places or whole numbers, where float16 could overflow, and where `calibration`, inputs of
    the model, shows that rounding operands costs too much (`bireme.passes.guard`). `auto` reduces
    to bfloat16 where processors of the target multiply it, and leaves so many contractions in
    float32 that the outputs are within `limit` of float32, relative to the largest element of each
    (`bireme.passes.selection`); without calibration inputs, that holds on made-up ones. The details
    are a `PrecisionReport`.
    """

    name: ClassVar[str] = "precision"

    dtype: str = "auto"
    limit: float = 1e-2
    calibration: Sequence[Feed] = ()
    winograd: bool = True

    @property
    def element(self) -> DType:
        """The type that operands are reduced to. Raises BM3001 for an unknown `dtype`."""
        if self.dtype not in (*REDUCED, AUTO):
            known = ", ".join((*REDUCED, AUTO))
            raise BiremeError("BM3001", f"dtype is {known}; found {self.dtype!r}", where=self.name)
        return REDUCED.get(self.dtype, DType.BF16)

    def run(self, graph: Graph, description: Description, /) -> Outcome:
        report = self._decide(graph, description)
        if not report.reduced:
            return Outcome(False, details=report)
        reduce(graph, report.kept, DType.of(report.dtype))
        of = count(len(report.decisions), "contraction")
        return Outcome(True, f"{report.dtype} in {report.reduced} of {of}", report)

    def _decide(self, graph: Graph, description: Description) -> PrecisionReport:
        """Which contractions to reduce. Raises BM3001 for an unknown `dtype`."""
        dtype = self.element
        missing = self.dtype == AUTO and not description.multiplies_bf16
        rate = 2 if dtype is DType.BF16 and description.multiplies_bf16 else 1
        sizes = typical_sizes(graph)

        def held_back(op: Op) -> str | None:
            if missing:
                return "no processor of the target multiplies bfloat16"
            if self.winograd and winograd_tile(op, sizes, rate):
                return "Winograd's form is faster"
            return obstacle(op)

        made_up = self.dtype == AUTO and not self.calibration and not missing
        feeds = _made_up(graph) if made_up else self.calibration
        decisions = judge(graph, dtype, held_back, feeds)
        meter = Meter(graph, partial(reduce, dtype=dtype), feeds)
        if self.dtype == AUTO and feeds:
            decisions = keep_limit(graph, decisions, self.limit, meter)
        made_up = made_up and bool(feeds)
        report = PrecisionReport(
            self.dtype, dtype.label, tuple(decisions), self.limit, len(feeds), made_up
        )
        if not feeds:
            return report
        far, cosine = meter([d.number for d in decisions if not d.reason])
        return replace(report, max_relative=far, cosine=cosine)


def precision_for(
    name: str, calibration: Sequence[Feed] = (), limit: float = Precision.limit
) -> Precision | None:
    """The pass for an option `float32`, `bf16`, `fp16` or `auto`; None for the first. Raises
    BM6002, also for calibration inputs that nothing would use.
    """
    if name not in PRECISIONS:
        raise BiremeError("BM6002", f"precision is {', '.join(PRECISIONS)}; found {name!r}")
    if name == FLOAT32 and calibration:
        raise BiremeError("BM6002", "calibration inputs need a precision other than float32")
    return None if name == FLOAT32 else Precision(name, limit, tuple(calibration))


def _made_up(graph: Graph) -> Sequence[Feed]:
    """Inputs to test a model on that nobody gave any for; none where it takes no such numbers."""
    feed = made_up_inputs(graph)
    try:
        reference.run(graph, feed)
    except BiremeError:
        return ()
    return (feed,)


def reduce(graph: Graph, kept: Sequence[int], dtype: DType) -> None:
    """Reduces all contractions of a graph but those of the numbers `kept`, in place."""
    every = enumerate(contractions(graph))
    _Reducer(graph, dtype, [op for number, op in every if number not in kept]).run()
    remove_unused(graph.body)


def obstacle(op: Op) -> str | None:
    """Why a contraction has no reduced form; None when it has one."""
    x, w = op.operands[:2]
    if x.type.dtype is not DType.F32:
        return f"its operands are {x.type.dtype}"
    if op.name == "matmul":
        constant = op.attrs["block"] > 1
        return None if constant or w.type.rank > 2 else "its right operand is not packed"
    if op.name != "conv" or op.attrs["out_block"] == 1:
        return "its channels are not blocked"
    return "it reads fewer channels than stand in a block" if op.attrs["in_block"] == 1 else None


class _Reducer:
    """Rewrites a graph so that `chosen` contractions read reduced operands."""

    def __init__(self, graph: Graph, dtype: DType, chosen: Sequence[Op]) -> None:
        self.graph, self.dtype = graph, dtype
        self.chosen = set(chosen)
        self.moves: set[Op] = set()
        # The reduced form of values, and of values of float32 that were made from one.
        self.reduced: dict[tuple[Block, Value], Value] = {}
        # How many products are made of an element.
        self.products: dict[Value, int] = {}
        for op in chosen:
            for number, value in enumerate(op.operands[:2]):
                self._want(value, _products(op) if number == 0 else 0)

    def _want(self, value: Value, products: int) -> None:
        """Notes that a value is read in reduced form, and what it is moved from is then, too."""
        owner = value.owner
        if value.constant is not None:
            return
        self.products[value] = self.products.get(value, 0) + products
        if owner is None or not self._moves(owner):
            return
        self.moves.add(owner)
        for operand in _data(owner):
            self._want(operand, products)

    def _moves(self, op: Op) -> bool:
        """Whether an op is done on reduced elements when its result is wanted so."""
        if op.name not in _MOVES or len(op.results) != 1:
            return False
        if op.name == "pad" and not pads_with_zeros(op):
            return False
        # What comes from outside is reduced where it is moved anyway.
        return all(v.owner is not None or v.constant is not None for v in _data(op))

    def run(self) -> None:
        for op in list(self.graph.walk()):
            if op in self.chosen:
                self._contraction(op)
            elif op in self.moves:
                self._move(op)

    def _contraction(self, op: Op) -> None:
        x, w = op.operands[:2]
        b = Builder(self.graph, before=op)
        pair = 2 if self.dtype is DType.BF16 and _packs_pairs(op) else 1
        if w.constant is not None and (op.name == "conv" or op.attrs["block"] > 1):
            weights = pack_pairs(w.constant) if pair == 2 else w.constant
            right = b.constant(self._rounded(weights), weight_name(w))
        else:
            right = self._reduced(w, op)
        left = self._reduced(x, op)
        attrs = {**op.attrs, "pair": pair, "wide": True}
        op.replace_with(b.op(op.name, [left, right], **attrs).results)

    def _move(self, op: Op) -> None:
        b = Builder(self.graph, before=op)
        data = set(_data(op))
        operands = [self._reduced(v, op) if v in data else v for v in op.operands]
        if op.name == "pad":
            operands = operands[:1]  # zeros, which are what is left out
        made = b.op(op.name, operands, **op.attrs).result
        self._readers(op.result, made, op, b)

    def _reduced(self, value: Value, reader: Op) -> Value:
        """The reduced form of a value, for a reader."""
        key = (reader.block, value)
        if key in self.reduced:
            return self.reduced[key]
        b = Builder(self.graph, before=reader)
        if value.constant is not None:
            made: Value = b.constant(self._rounded(value.constant), weight_name(value))
            self.reduced[key] = made
            return made
        owner = value.owner
        if owner is not None and owner.block == reader.block:
            b = _after(owner)
        made = b.cast(value, dtype=self.dtype)
        self.reduced[key] = made
        cast = made.owner
        assert cast is not None
        if owner is not None and owner.block == reader.block:
            self._share(value, made, cast)
        return made

    def _share(self, value: Value, made: Value, cast: Op) -> None:
        """Lets the other readers of a value read its reduced form when all can."""
        others = [(user, place) for user, place in value.uses if not self._is_reduced(user, cast)]
        if not others or not all(_tolerates(user, cast) for user, _ in others):
            return
        if self.products[value] >= _PRODUCTS_PER_COPY and any(u.name in _ADDS for u, _ in others):
            return
        for user, place in others:  # each has a cast of its own to join
            widened = Builder(self.graph, before=user).at(cast).cast(made, dtype=DType.F32)
            user.set_operand(place, widened)

    def _is_reduced(self, user: Op, cast: Op) -> bool:
        return user == cast or user in self.chosen or user in self.moves

    def _readers(self, value: Value, made: Value, op: Op, b: Builder) -> None:
        """Replaces a moved value by its reduced form, widened where that is not wanted."""
        self.reduced[op.block, value] = made
        if all(self._is_reduced(user, op) for user, _ in value.uses):
            return
        widened = b.cast(made, dtype=DType.F32)
        self.reduced[op.block, widened] = made
        op.replace_with([widened])

    def _rounded(self, array: Array) -> Array:
        return np.ascontiguousarray(array.astype(self.dtype.numpy))


def _data(op: Op) -> list[Value]:
    """Operands that a move moves."""
    return op.operands if op.name == "concat" else op.operands[:1]


def _products(op: Op) -> int:
    """Products that an element of the left operand takes part in."""
    x, w = (v.type for v in op.operands[:2])
    if op.name == "matmul":
        columns = op.result.type.shape[-1]
        return columns if isinstance(columns, int) else _TYPICAL_COLUMNS
    blocks, block = x.shape[1], op.attrs["in_block"]
    assert isinstance(blocks, int)
    return math.prod(w.static_shape) // int(blocks * block * math.prod(op.attrs["strides"]))


def _tolerates(user: Op, cast: Op) -> bool:
    if user.is_terminator or user.block != cast.block or user.blocks:
        return False
    return user.definition.fusion in _TOLERANT


def _after(op: Op) -> Builder:
    """A builder that stands behind an op."""
    ops = op.block.ops
    following = ops.index(op) + 1
    last = op.block.terminator
    before = ops[following] if following < len(ops) else last
    assert before is not None
    return Builder(op.graph, before=before).at(op)


def _packs_pairs(op: Op) -> bool:
    """Whether the right operand is packed so that pairs of its rows can stand together."""
    if op.name == "matmul":
        return bool(op.attrs["block"] > 1)
    return op.operands[1].type.rank == len(op.attrs["strides"]) + 4
