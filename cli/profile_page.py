"""The report of `bireme profile` as one HTML page: graph, timeline, arena, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bireme._profile import Profile, Step, Total
from bireme.cli.html import Cell, Drawings, Table, page
from bireme.cli.output import megabytes, quantity, short_names
from bireme.cli.profile_script import BODY, SCRIPT, STYLE
from bireme.codegen.arena import live_bytes, spans
from bireme.ir import TensorType, evaluate

# More events than this make a page slow; the trace has them all.
_MOST_EVENTS = 20_000
_STEP = ("step", "ms", "share", "class", "what", "GFLOP/s", "GB/s", "limit", "of limit", "kernel",
         "nodes", "advice")  # fmt: skip
_CLASS = ("class", "steps", "ms", "share", "operations", "GFLOP/s", "of peak", "bytes", "GB/s",
          "of limit", "ms to gain")  # fmt: skip
_NUMBERS = frozenset({
    "step", "ms", "share", "GFLOP/s", "GB/s", "of limit", "of peak", "steps", "operations", "bytes",
    "ms to gain",
})  # fmt: skip
_GOOD, _BAD = 0.8, 0.5


def page_of(name: str, found: Profile, facts: Sequence[tuple[str, str]]) -> str:
    """The page; `facts` stand at its top."""
    low, high = found.spread
    verdict = Cell(
        f"{found.seconds * 1e3:.3f} ms a run on {found.threads} "
        f"thread{'s' if found.threads > 1 else ''}; a tenth of the runs below {low * 1e3:.3f}, a "
        f"tenth above {high * 1e3:.3f}"
    )
    findings = [[f.code, f.text] for f in found.findings]
    tables = [
        Table("The run as a whole", ("finding", "what it is"), findings),
        Table("Classes", _CLASS, [_class_row(total, found) for total in found.classes], _NUMBERS),
        Table("Steps", _STEP, [_step_row(step) for step in found.steps], _NUMBERS),
    ]
    drawings = Drawings(BODY, STYLE, SCRIPT, _data(found))
    return page(f"bireme profile {name}", verdict, facts, tables, drawings)


# --- tables ---------------------------------------------------------------------------------------


def _figure(value: float | None, digits: int = 1) -> Cell:
    return Cell("?", -1.0) if value is None else Cell(f"{value:.{digits}f}", value)


def _part(value: float | None) -> Cell:
    if value is None:
        return Cell("?", -1.0)
    return Cell(f"{value:.0%}", value, True if value >= _GOOD else False if value < _BAD else None)


def _step_row(step: Step) -> list[Cell | str]:
    times = f" ×{step.calls:.0f}" if step.calls != 1 else ""
    return [
        Cell(f"#{step.index}{times}", step.index),
        _figure(step.seconds * 1e3, 4),
        Cell(f"{step.share:.1%}", step.share),
        step.kind or "unknown",
        step.form or "+".join(step.ops),
        _figure(step.gflops),
        _figure(step.gbs),
        step.limit if step.limit_seconds is not None else "?",
        _part(step.of_limit),
        (step.kernel or step.template) + (f" for {step.version}" if step.version else ""),
        ", ".join(short_names(step.nodes)),
        "; ".join(f.text for f in step.findings),
    ]


def _class_row(total: Total, found: Profile) -> list[Cell | str]:
    peak = None if total.gflops is None else total.gflops / found.limits.gflops
    operations, moved, gain = total.operations, total.bytes, total.gain_seconds
    return [
        total.name,
        Cell(str(total.steps), total.steps),
        _figure(total.seconds * 1e3, 3),
        Cell(f"{total.share:.1%}", total.share),
        Cell("?", -1.0) if operations is None else Cell(quantity(round(operations)), operations),
        _figure(total.gflops),
        _figure(None if peak is None else 100 * peak, 0),
        Cell("?", -1.0) if moved is None else Cell(megabytes(round(moved)), moved),
        _figure(total.gbs),
        _part(total.of_limit),
        _figure(None if gain is None else gain * 1e3, 3),
    ]


# --- what is drawn --------------------------------------------------------------------------------


def _data(found: Profile) -> dict[str, Any]:
    start = min((e.begin for e in found.events), default=0)
    classes = [total.name for total in found.classes]
    lanes = lanes_of(found.steps)
    events = found.events[:_MOST_EVENTS]
    return {
        "classes": [{"name": t.name, "share": t.share} for t in found.classes],
        "steps": [_step_data(step, classes, lanes) for step in found.steps],
        "lanes": max((lane.number for lane in lanes.values()), default=0) + 1,
        "threads": max((e.worker for e in found.events), default=0) + 1,
        "events": [
            [e.instruction, e.worker, (e.begin - start) / 1e3, (e.end - start) / 1e3]
            for e in events
        ],
        "left": len(found.events) - len(events) + found.missed_events,
        "arena": {
            "bytes": found.arena_bytes,
            "bound": found.arena_lower_bound,
            "live": live_bytes(found.plan),
            "tensors": _tensors(found),
        },
    }


def _step_data(step: Step, classes: Sequence[str], lanes: Mapping[int, Lane]) -> dict[str, Any]:
    lane = lanes[step.index]
    return {
        "class": classes.index(step.kind or "unknown"),
        "what": step.form or "+".join(step.ops),
        "ops": "+".join(step.ops),
        "nodes": list(step.nodes),
        "short": ", ".join(short_names(step.nodes)),
        "kernel": step.kernel or step.template,
        "version": step.version,
        "types": step.types,
        "calls": step.calls,
        "tasks": step.tasks,
        "us": round(step.seconds * 1e6, 3),
        "spread": [round(s * 1e6, 3) for s in step.spread],
        "share": step.share,
        "gflops": step.gflops,
        "gbs": step.gbs,
        "limit": step.limit if step.limit_seconds is not None else "?",
        "part": step.of_limit,
        "parts": {name: s * 1e6 for name, s in step.parts.items()},
        "advice": [f.text for f in step.findings],
        "reads": list(step.reads),
        "lane": lane.number,
        "last": lane.last,
    }


def _tensors(found: Profile) -> list[dict[str, Any]]:
    """Tensors of the arena: where each lies, and from which step to which."""
    plan = found.plan
    rows = []
    for number, span in sorted(spans(plan).items()):
        tensor = plan.tensors[number]
        rows.append(
            {
                "name": tensor.name,
                "type": str(TensorType(tensor.dtype, tensor.shape)),
                "bytes": evaluate(tensor.reserved, {}),
                "offset": tensor.offset,
                "first": span.first,
                "last": span.last,
            }
        )
    return rows


@dataclass(frozen=True)
class Lane:
    """The column in which a step's result is drawn, down to the last step that reads it."""

    number: int
    last: int


def lanes_of(steps: Sequence[Step]) -> dict[int, Lane]:
    """A lane for each step, so that no two results share one while both are still to be read. A
    step takes the lane of what it reads last, so that chains are straight.
    """
    found: dict[int, Lane] = {}
    free: list[int] = []
    width = 0
    for step in steps:
        ending = sorted(
            found[r].number for r in step.reads if r in found and found[r].last <= step.index
        )
        free = sorted({*free, *ending})
        if ending:
            number = ending[0]
            free.remove(number)
        elif free:
            number = free.pop(0)
        else:
            number, width = width, width + 1
        last = max((r for r in step.readers if r > step.index), default=step.index)
        found[step.index] = Lane(number, last)
        if last == step.index:
            free = sorted({*free, number})
    return found
