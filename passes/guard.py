"""Which contractions may be calculated in reduced precision, and why the others may not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bireme.ir import DType, Fusion, Graph, Op, Value, reference
from bireme.ir.opdef import Array
from bireme.ir.reference import run_op
from bireme.ir.views import location_names
from bireme.passes.ranges import UNKNOWN, Interval, ranges
from bireme.passes.selection import choose

Feed = Mapping[str, Array]
# A contraction whose own result is further off than this, relative in the Euclidean norm, stays
# float32: rounding its operands usually costs 2e-3 with bfloat16 and 3e-4 with float16.
MOST_LOCAL = 2e-2
# Inputs may be larger than those seen by this factor before a float16 overflows.
_MARGIN = 4.0
_LARGEST = {DType.F16: 65504.0, DType.BF16: 3.38e38}
# Whole numbers up to these are exact.
_WHOLE = {DType.F16: 2048.0, DType.BF16: 256.0}
# Ops that turn a small difference of their operand into another place or number.
_STEPS = frozenset({
    "argmax", "argmin", "ceil", "floor", "grid_sample", "mod", "roi_align", "round", "sort_rows",
    "suppress", "topk",
})  # fmt: skip
# Loops, in which differences of one turn are carried into the next.
_LOOPS = frozenset({"scan", "while"})


@dataclass(frozen=True)
class Decision:
    """What becomes of one contraction.

    `nodes` are the model's names, `dtype` what its operands are multiplied in, `reason` why that is
    float32. With calibration inputs, `largest` is the largest magnitude of its operands and `error`
    how far rounding them alone puts its result off, relative in the Euclidean norm.
    """

    number: int
    op: str
    nodes: tuple[str, ...]
    dtype: str
    reason: str = ""
    largest: float | None = None
    error: float | None = None


@dataclass(frozen=True)
class PrecisionReport:
    """What was decided for a model.

    `asked` is the option, `dtype` the reduced element type. `inputs` counts the calibration inputs,
    `made_up` says that they are random numbers because nobody gave real ones. With any,
    `max_relative` is the largest difference of an output from float32 over the largest magnitude
    of that output, `cosine` the least cosine between the two, both of the reference with the
    decisions applied. `limit` is what `auto` keeps `max_relative` below.
    """

    asked: str
    dtype: str
    decisions: tuple[Decision, ...]
    limit: float
    inputs: int = 0
    made_up: bool = False
    max_relative: float | None = None
    cosine: float | None = None

    @property
    def kept(self) -> tuple[int, ...]:
        """Numbers of the contractions that stay float32."""
        return tuple(d.number for d in self.decisions if d.reason)

    @property
    def reduced(self) -> int:
        """How many contractions are reduced."""
        return len(self.decisions) - len(self.kept)


# (contraction) → why it has no reduced form, or None
Obstacle = Callable[[Op], str | None]
# (graph, numbers of contractions to keep) → rewrites the graph in place
Reduce = Callable[[Graph, Sequence[int]], None]


def contractions(graph: Graph) -> list[Op]:
    """Contractions of a graph in program order: their places are their numbers."""
    return [op for op in graph.walk() if op.definition.fusion is Fusion.CONTRACTION]


def judge(
    graph: Graph, dtype: DType, obstacle: Obstacle, calibration: Sequence[Feed]
) -> list[Decision]:
    """A decision for each contraction, from the graph alone and from `calibration` inputs."""
    bounds = ranges(graph)
    ops = contractions(graph)
    seen = _Observer(ops, dtype)
    for feed in calibration:
        reference.run(graph, feed, trace=seen)
    decisions = []
    for number, op in enumerate(ops):
        reason = obstacle(op) or _structure(op, bounds, dtype) or seen.reason(op)
        if not reason and dtype is DType.F16 and not calibration:
            reason = _unbounded(op, bounds)
        made = Decision(number, op.name, tuple(location_names(op.location)), dtype.label)
        if reason:
            made = replace(made, dtype=DType.F32.label, reason=reason)
        decisions.append(replace(made, largest=seen.largest.get(op), error=seen.error.get(op)))
    return decisions


class Meter:
    """Measures how far reduced contractions put the outputs off on calibration inputs."""

    def __init__(self, graph: Graph, reduce: Reduce, calibration: Sequence[Feed]) -> None:
        self._graph, self._reduce, self._calibration = graph, reduce, calibration
        self._wanted = [reference.run(graph, feed) for feed in calibration]
        self._total = len(contractions(graph))
        self._known: dict[frozenset[int], tuple[float, float]] = {}

    def __call__(self, reduced: Sequence[int]) -> tuple[float, float]:
        """Largest relative difference and least cosine of the outputs, against float32, with these
        contractions reduced. Asked again, it remembers.
        """
        key = frozenset(reduced)
        if key not in self._known:
            self._known[key] = self._measure(reduced) if reduced else (0.0, 1.0)
        return self._known[key]

    def _measure(self, reduced: Sequence[int]) -> tuple[float, float]:
        changed = self._graph.clone()
        self._reduce(changed, [n for n in range(self._total) if n not in set(reduced)])
        worst, cosine = 0.0, 1.0
        for feed, wanted in zip(self._calibration, self._wanted, strict=True):
            found = reference.run(changed, feed)
            for name, array in wanted.items():
                if not DType.of(array).is_float or not array.size:
                    continue
                far, near = _difference(array.astype(np.float64), found[name].astype(np.float64))
                worst, cosine = max(worst, far), min(cosine, near)
        return worst, cosine


def keep_limit(
    graph: Graph, decisions: Sequence[Decision], limit: float, meter: Meter
) -> list[Decision]:
    """Puts those contractions back to float32 without which the model's `max_relative` is within
    the limit, as few operations as can be found.
    """
    numbers = [d.number for d in decisions if not d.reason]
    cost = [_cost(op) for op in contractions(graph)]
    chosen = choose(numbers, cost, limit, lambda some: meter(some)[0])
    reason = f"outputs would be off by more than {limit:g}"
    return [
        d if d.reason or d.number in chosen else replace(d, dtype=DType.F32.label, reason=reason)
        for d in decisions
    ]


def _cost(op: Op) -> float:
    """Multiply-adds at sizes of 64 for symbols: weights times places."""
    weights, result = op.operands[1].type, op.result.type
    sizes = [d if isinstance(d, int) else 64 for d in (*weights.shape, *result.shape[2:])]
    return float(math.prod(sizes))


def _difference(wanted: Array, found: Array) -> tuple[float, float]:
    """Relative difference and cosine; where one is infinite or NaN the other must be, too."""
    finite = np.isfinite(wanted)
    if not np.array_equal(finite, np.isfinite(found)):
        return float("inf"), 0.0
    a, b = wanted[finite], found[finite]
    largest = float(np.abs(a).max(initial=0.0))
    far = float(np.abs(a - b).max(initial=0.0))
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    cosine = float(np.dot(a, b)) / norms if norms else float(far == 0)
    return (far / largest if largest else (0.0 if far == 0 else float("inf"))), min(cosine, 1.0)


# --- from the graph alone -------------------------------------------------------------------------


def _structure(op: Op, bounds: Mapping[Value, Interval], dtype: DType) -> str:
    """Why a contraction should stay float32 whatever the inputs are; empty if nothing says so."""
    loop = _loop_around(op)
    if loop is not None:
        return f"it is in a loop ({loop}), where differences add up"
    for value in op.operands[:2]:
        bound = bounds.get(value, UNKNOWN)
        if value.constant is not None and bound.largest > _LARGEST[dtype]:
            return f"its weights reach {bound.largest:.3g}, beyond {dtype.label}"
        if _counts(value) and bound.largest > _WHOLE[dtype]:
            return f"its operand holds whole numbers beyond {_WHOLE[dtype]:g}"
    decided = _decides(op)
    return f"its result decides {decided}" if decided else ""


def _unbounded(op: Op, bounds: Mapping[Value, Interval]) -> str:
    most = max(bounds.get(v, UNKNOWN).largest for v in op.operands[:2])
    if most <= _LARGEST[DType.F16]:
        return ""
    return "nothing bounds its operands below 65504: calibration inputs could"


def _loop_around(op: Op) -> str | None:
    parent = op.parent
    while parent is not None:
        if parent.name in _LOOPS:
            return parent.name
        parent = parent.parent
    return None


_MOVED = (Fusion.INJECTIVE, Fusion.VIEW)


def _counts(value: Value) -> bool:
    """Whether the elements are whole numbers: integers that were cast and moved."""
    owner = value.owner
    while owner is not None and owner.definition.fusion in _MOVED and owner.operands:
        owner = owner.operands[0].owner
    if owner is None or owner.name != "cast":
        return False
    return owner.operands[0].type.dtype.is_integer


def _decides(op: Op) -> str:
    """What the result decides, through element-wise ops and moves alone: a place, an order, a whole
    number. Empty if nothing.
    """
    waiting, met = list(op.results), set(op.results)
    while waiting:
        for user, _ in waiting.pop().uses:
            if user.is_terminator:
                continue
            if user.name in _STEPS:
                return f"what {user.name} gives"
            if user.name == "cast" and user.result.type.dtype.is_integer:
                return "whole numbers"
            follows = user.definition.fusion in (Fusion.POINTWISE, *_MOVED)
            if not follows or user.name in _BOUNDED:
                continue
            fresh = [v for v in user.results if v not in met]
            met.update(fresh)
            waiting += fresh
    return ""


# What follows these is probabilities, whose order small differences change only where it is a
# matter of chance.
_BOUNDED = frozenset({"sigmoid", "tanh"})


# --- from calibration inputs ----------------------------------------------------------------------


class _Observer:
    """Watches a run of the reference: largest operands, and what rounding them changes."""

    def __init__(self, ops: Sequence[Op], dtype: DType) -> None:
        self.largest: dict[Op, float] = {}
        self.error: dict[Op, float] = {}
        self._dtype = dtype
        self._by_result = {op.result: op for op in ops}
        self._kept: dict[Value, Array] = {}
        self._needed = {v for op in ops for v in op.operands[:2] if v.constant is None}

    def __call__(self, value: Value, array: Array) -> None:
        if value in self._needed:
            self._kept[value] = array
        op = self._by_result.get(value)
        if op is None or value.type.dtype is not DType.F32:
            return
        operands = [self._operand(v) for v in op.operands[:2]]
        finite = [np.abs(x[np.isfinite(x)]) for x in operands]
        most = max(float(x.max(initial=0.0)) for x in finite)
        self.largest[op] = max(most, self.largest.get(op, 0.0))
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = [x.astype(self._dtype.numpy).astype(np.float32) for x in operands]
            (found,) = run_op(op.name, rounded, op.attrs)
        wanted = array.astype(np.float64)
        size = float(np.linalg.norm(wanted))
        off = float(np.linalg.norm(found.astype(np.float64) - wanted))
        share = off / size if size else (0.0 if off == 0 else float("inf"))
        self.error[op] = max(share, self.error.get(op, 0.0))

    def _operand(self, value: Value) -> Array:
        array = value.constant
        return self._kept[value] if array is None else array

    def reason(self, op: Op) -> str:
        """Why what was seen keeps a contraction in float32."""
        largest, error = self.largest.get(op), self.error.get(op)
        if largest is None or error is None:
            return ""
        if largest * _MARGIN > _LARGEST[self._dtype]:
            return f"its operands reach {largest:.3g}, too near to {self._dtype.label}'s largest"
        if not error <= MOST_LOCAL:
            return f"rounding its operands alone puts its result off by {error:.1e}"
        return ""
