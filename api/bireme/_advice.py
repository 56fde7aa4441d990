"""What is noteworthy about a profile and what to do about it: a table of conditions and texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bireme.codegen.classes import (
    ATTENTION,
    CONTROL,
    CONVOLUTION,
    DEPTHWISE,
    ELEMENTWISE,
    MATMUL,
    MOVEMENT,
    NORMALISATION,
    RECURRENCE,
    REDUCTION,
)
from bireme.codegen.limits import MEMORY, Limits
from bireme.ir import Fusion
from bireme.ir.ops import OPS

if TYPE_CHECKING:
    from bireme._profile import Step

# Steps below this part of a run are not worth a word.
_SHARE = 0.01
# A step is slow when code could save this part of its time.
_SLOW = 0.6
_COMPUTED = frozenset({ATTENTION, CONVOLUTION, MATMUL, RECURRENCE})
_ANCHORED = frozenset({Fusion.REDUCTION, Fusion.CONTRACTION, Fusion.OPAQUE})
# A launch that lasts less is not worth waking a thread for (runtime/launch.cc).
_SHARED_SECONDS = 10e-6
_SHORT_SECONDS = 2e-6


@dataclass(frozen=True)
class Finding:
    """`code` names the row of the table, `text` says what and what to do."""

    code: str
    text: str


@dataclass(frozen=True)
class _View:
    """A step with what stands around it."""

    step: Step
    steps: Sequence[Step]
    limits: Limits

    @property
    def percent(self) -> str:
        part = self.step.of_limit
        return "?" if part is None else f"{100 * part:.0f} %"

    @property
    def title(self) -> str:
        step = self.step
        return f"{step.kind} {step.form}".strip()

    def slow(self, part: float = _SLOW) -> bool:
        """Whether even the fastest tenth is: what else runs on a machine slows some runs only."""
        least, fast = self.step.limit_seconds, min(self.step.spread[0], self.step.seconds)
        return least is not None and least < part * fast

    def bound_by_memory(self) -> bool:
        return self.step.limit in {level.name for level in self.limits.levels}


@dataclass(frozen=True)
class Rule:
    """A row: when it holds for a step of some weight, and what is then said."""

    code: str
    applies: Callable[[_View], bool]
    text: Callable[[_View], str]


RULES: tuple[Rule, ...] = (
    Rule(
        "above-limit",
        lambda v: v.step.of_limit is not None and v.step.of_limit > 1.15,
        lambda v: (
            f"{v.title} reaches {v.percent} of its limit: the limits were measured on a busy "
            "machine; --measure-limits measures again"
        ),
    ),
    Rule(
        "below-compute",
        lambda v: v.step.kind in _COMPUTED and v.step.limit == "compute" and v.slow(0.85),
        lambda v: (
            f"{v.title} at {v.percent} of the compute peak: `bireme tune` looks for better tiles"
        ),
    ),
    Rule(
        "weights-from-memory",
        lambda v: v.step.kind in _COMPUTED and v.step.limit == MEMORY,
        lambda v: (
            f"{v.title} waits for its weights, which memory gives anew in every run: a larger "
            "batch or narrower weights use them better"
        ),
    ),
    Rule(
        "depthwise",
        lambda v: v.step.kind == DEPTHWISE and v.slow(),
        lambda v: f"{v.title} at {v.percent} of the {_bandwidth(v)}: {_why_alone(v)}",
    ),
    Rule(
        "below-bandwidth",
        lambda v: v.bound_by_memory() and v.step.kind != DEPTHWISE and v.slow(),
        lambda v: f"{v.title} at {v.percent} of the {_bandwidth(v)}",
    ),
    Rule(
        "pass-over-memory",
        lambda v: (
            v.step.kind in (ELEMENTWISE, MOVEMENT, NORMALISATION, REDUCTION) and bool(v.step.kernel)
        ),
        lambda v: f"{'+'.join(v.step.ops)} is a pass over memory of its own: {_why_alone(v)}",
    ),
    Rule(
        "copy",
        lambda v: v.step.template == "copy",
        lambda v: (
            "a copy: "
            + (
                "what a branch or loop gives is put where the next turn or reader looks for it"
                if v.step.ops != ("copy",) or v.step.kind == CONTROL
                else "an output that is also an input, a weight or another output"
            )
        ),
    ),
    Rule(
        "one-thread",
        lambda v: (
            v.limits.threads > 1
            and bool(v.step.kernel)
            and v.step.tasks < v.limits.threads
            and v.step.seconds > _SHARED_SECONDS * max(v.step.calls, 1)
        ),
        lambda v: (
            f"{v.title} has {v.step.tasks} task(s) for {v.limits.threads} threads: its loop "
            "nest cannot be divided further"
        ),
    ),
    Rule(
        "any-size",
        lambda v: v.step.kind in _COMPUTED and v.step.any_size and v.slow(0.85),
        lambda v: (
            f"{v.title} runs code for any size: `bireme compile --specialize` adds code for "
            "the sizes that matter"
        ),
    ),
    Rule(
        "float64",
        lambda v: v.step.kind in _COMPUTED and "f64" in v.step.types,
        lambda _: "float64 does half as many operations at once as float32",
    ),
)


def advise(steps: Sequence[Step], limits: Limits) -> list[Step]:
    """The steps with what the table says of each."""
    return [
        replace(step, findings=tuple(_findings(_View(step, steps, limits))))
        if step.share >= _SHARE
        else step
        for step in steps
    ]


def _findings(view: _View) -> Iterable[Finding]:
    return (Finding(r.code, r.text(view)) for r in RULES if r.applies(view))


def advise_whole(
    steps: Sequence[Step], limits: Limits, isa: str, spread: tuple[float, float]
) -> Iterable[Finding]:
    """What there is to say about the run as a whole; `spread` are its fastest and slowest tenth."""
    low, high = spread
    if high > 1.3 * low:
        yield Finding(
            "noise",
            f"a tenth of the runs took {high / low:.1f} times as long as the fastest tenth: "
            "something else runs on this machine; --busy takes the least time of each step",
        )
    if isa and not isa.startswith(limits.isa):  # one for reduced precision contains it
        yield Finding(
            "older-code",
            f"the artefact has code for {isa} at best, this processor has {limits.isa}: compile it "
            "with --target x86",
        )
    short = [s for s in steps if s.kernel and 0 < s.seconds < _SHORT_SECONDS * max(s.calls, 1)]
    share = sum(s.share for s in short)
    if share > 0.1:
        calls = sum(s.calls for s in short)
        yield Finding(
            "short-steps",
            f"{calls:.0f} launches of less than 2 µs take {share:.0%} of the run: larger inputs or "
            "a larger batch would use the machine better",
        )


# --- why a step was not fused ---------------------------------------------------------------------


def _bandwidth(view: _View) -> str:
    return f"{view.step.limit} {'bandwidth' if view.bound_by_memory() else 'peak'}"


def _why_alone(view: _View) -> str:
    """Why a step was not fused with the one before it, by the rules of fusion (docs/passes.md)."""
    step = view.step
    made = [view.steps[i] for i in step.reads if view.steps[i].kernel]
    if not made:
        return "not fused because it reads the model's inputs only"
    before = max(made, key=lambda s: s.index)
    here, there = _anchor(step), _anchor(before)
    if len(before.readers) > 1:
        return f"not fused because {len(before.readers)} steps read the result of {_name(before)}"
    if here and there:
        return f"not fused because {here} and {there} of {_name(before)} need a loop nest each"
    if here:
        return f"not fused because {here} reads what {_name(before)} makes more than once"
    moves = [op for op in step.ops if _fusion(op) is Fusion.INJECTIVE]
    if moves:
        return f"not fused because {moves[0]} changes the order in which {_name(before)} writes"
    return f"not fused because its shape is not that of {_name(before)}"


def _anchor(step: Step) -> str:
    """The op that decides a step's loop nest, or ""."""
    return next((op for op in step.ops if _fusion(op) in _ANCHORED), "")


def _fusion(op: str) -> Fusion | None:
    return OPS[op].fusion if op in OPS else None


def _name(step: Step) -> str:
    return step.nodes[0] if step.nodes else "+".join(step.ops)


# Codes and what they say, for the documentation.
CODES: Mapping[str, str] = {
    "above-limit": "faster than the limits that were measured: the machine was busy then",
    "below-compute": "a convolution, product or recurrence below 85 % of the compute peak",
    "weights-from-memory": "bound by reading weights from memory in every run",
    "depthwise": "a depthwise convolution below 60 % of its bandwidth, and why it stands alone",
    "below-bandwidth": "bound by a level of memory and below 60 % of its bandwidth",
    "pass-over-memory": "a kernel that only passes over memory, and why it was not fused",
    "copy": "a copy, and for what",
    "one-thread": "fewer tasks than threads",
    "any-size": "code for any size where code for one size could be faster",
    "float64": "arithmetic in float64",
    "noise": "runs differ by more than 30 %",
    "older-code": "code for an older instruction set than the processor has",
    "short-steps": "launches below 2 µs take more than a tenth of the run",
}
