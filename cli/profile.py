"""`bireme profile`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bireme._inputs import read_inputs
from bireme._profile import Profile, Step, Total, profile, totals
from bireme.cli.options import parse_dims
from bireme.cli.output import (
    megabytes,
    print_json,
    print_table,
    progress_bar,
    quantity,
    short_names,
)
from bireme.cli.profile_page import page_of
from bireme.cli.profile_trace import trace_of
from bireme.codegen.files import write_file
from bireme.ir import BiremeError
from bireme.runtime import Model

_STEP = ("step", "ms", "tenths", "share", "class", "GFLOP/s", "GB/s", "limit", "of it", "kernel",
         "what", "nodes")  # fmt: skip
_FIGURES = ("steps", "calls", "ms", "share", "operations", "GFLOP/s", "of peak", "bytes", "GB/s",
            "of limit", "to gain")  # fmt: skip


@dataclass(frozen=True)
class _Grouping:
    """Another choice of rows than single steps: how their column is called, what a step's is."""

    column: str
    key: Callable[[Step], str]


_GROUPINGS = {
    "class": _Grouping("class", lambda s: s.kind or "unknown"),
    "kernel": _Grouping("kernel", lambda s: f"{s.kernel or s.template} {s.form}".strip()),
}
_BY = ("step", *_GROUPINGS)


def run(
    artefact: Path,
    source: Path | None,
    dims: list[str] | None,
    threads: int | None,
    seconds: float,
    runs: int | None,
    busy: bool,
    top: int,
    by: str,
    measure_limits: bool,
    html: Path | None,
    trace: Path | None,
    json: bool,
) -> None:
    """Measures and prints the report; writes it as a page and as a trace, too."""
    if by not in _BY:
        raise BiremeError("BM6002", f"expected one of {', '.join(_BY)}; found {by!r}", where="--by")
    with progress_bar(json) as tell:
        found = profile(
            artefact,
            read_inputs(source, Model.load(artefact)) if source else None,
            sizes=parse_dims(dims),
            threads=threads,
            seconds=seconds,
            runs=runs,
            busy=busy,
            measure_limits=measure_limits,
            progress=tell,
        )
    if html:
        write_file(html, page_of(artefact.name, found, facts(found)).encode())
    if trace:
        write_file(trace, trace_of(found).encode())
    if json:
        print_json(_json(found))
    else:
        _print(found, top, by)


# --- text -----------------------------------------------------------------------------------------


def _print(found: Profile, top: int, by: str) -> None:
    advice = list(found.findings)
    if by == "step":
        steps = sorted(found.steps, key=lambda step: -step.seconds)
        shown = steps[: top or None]
        print_table("", _STEP, [_step(step) for step in shown])
        _print_rest(steps[len(shown) :])
        advice += [finding for step in shown for finding in step.findings]
    else:
        groups = totals(found.steps, _GROUPINGS[by].key)
        shown_groups = groups[: top or None]
        columns = (_GROUPINGS[by].column, *_FIGURES)
        print_table("", columns, [_figures(group, found) for group in shown_groups])
        _print_rest(groups[len(shown_groups) :])
    print()
    if by != "class":
        print_table("", ("class", *_FIGURES), [_figures(c, found) for c in found.classes])
        print()
    for line in summary(found):
        print(line)
    for text in dict.fromkeys(finding.text for finding in advice):
        print(f"- {text}")


def _print_rest(rest: Sequence[Step | Total]) -> None:
    if rest:
        print(f"{len(rest)} more with {sum(r.share for r in rest):.1%} of the time: --top 0")


def summary(found: Profile) -> list[str]:
    """What was measured, in a few lines."""
    low, high = found.spread
    kind = "least" if found.busy else "median"
    return [
        f"{found.model}: {kind} {found.seconds * 1e3:.3f} ms of {found.runs} runs, tenths "
        f"{low * 1e3:.3f} to {high * 1e3:.3f}",
        *(f"{name}: {text}" for name, text in facts(found)),
    ]


def facts(found: Profile) -> list[tuple[str, str]]:
    """What the figures depend on, as (name, text)."""
    limits = found.limits
    levels = ", ".join(f"{x.name} {x.read_gbs:.0f}/{x.write_gbs:.0f}" for x in limits.levels)
    rows = [
        ("code", found.isa),
        ("threads", str(found.threads)),
        ("sizes", ", ".join(f"{name}={size}" for name, size in found.sizes.items())),
        ("measuring adds", f"{limits.measuring_ns:.0f} ns a step, {found.overhead:.2%} of a run"),
        (
            "memory",
            f"arena {megabytes(found.arena_bytes)}, lower bound "
            f"{megabytes(found.arena_lower_bound)}; weights {megabytes(found.weight_bytes)}",
        ),
        (
            "limits",
            f"{limits.cpu} ({limits.isa}): {limits.gflops:.1f} GFLOP/s float32; GB/s read/written "
            f"{levels}; {limits.step_ns:.0f} ns a step",
        ),
    ]
    if found.missing:
        lacks = f"{' and '.join(found.missing)}: compile the model again"
        rows.append(("the artefact does not tell", lacks))
    return [(name, text) for name, text in rows if text]


def _step(step: Step) -> tuple[str, ...]:
    low, high = step.spread
    return (
        f"#{step.index}" + (f" ×{step.calls:.0f}" if step.calls != 1 else ""),
        f"{step.seconds * 1e3:.4f}",
        f"{low * 1e3:.3f}-{high * 1e3:.3f}",
        f"{step.share:.1%}",
        step.kind or "unknown",
        number(step.gflops),
        number(step.gbs),
        step.limit if step.limit_seconds is not None else "?",
        percent(step.of_limit),
        (step.kernel or step.template) + (f" [{step.version}]" if step.version else ""),
        step.form or "+".join(step.ops),
        ", ".join(short_names(step.nodes)),
    )


def _figures(total: Total, found: Profile) -> tuple[str, ...]:
    peak = None if total.gflops is None else total.gflops / found.limits.gflops
    return (
        total.name,
        str(total.steps),
        f"{total.calls:.0f}",
        f"{total.seconds * 1e3:.3f}",
        f"{total.share:.1%}",
        "?" if total.operations is None else quantity(round(total.operations)),
        number(total.gflops),
        percent(peak),
        "?" if total.bytes is None else megabytes(round(total.bytes)),
        number(total.gbs),
        percent(total.of_limit),
        "?" if total.gain_seconds is None else f"{total.gain_seconds * 1e3:.3f} ms",
    )


def number(value: float | None) -> str:
    """A rate for people."""
    return "?" if value is None else f"{value:.1f}"


def percent(part: float | None) -> str:
    """A part of a limit for people."""
    return "?" if part is None else f"{part:.0%}"


# --- JSON -----------------------------------------------------------------------------------------


def _json(found: Profile) -> dict[str, Any]:
    return {
        "model": found.model,
        "isa": found.isa,
        "threads": found.threads,
        "runs": found.runs,
        "busy": found.busy,
        "seconds": found.seconds,
        "spread": list(found.spread),
        "overhead": found.overhead,
        "sizes": dict(found.sizes),
        "arena_bytes": found.arena_bytes,
        "arena_lower_bound_bytes": found.arena_lower_bound,
        "weight_bytes": found.weight_bytes,
        "peak_bytes": found.peak_bytes,
        "missing": list(found.missing),
        "limits": asdict(found.limits),
        "findings": [vars(f) for f in found.findings],
        "classes": [_total_json(t) for t in found.classes],
        "steps": [_step_json(s) for s in found.steps],
    }


def _total_json(total: Total) -> dict[str, Any]:
    return {**vars(total), **_rates(total)}


def _step_json(step: Step) -> dict[str, Any]:
    return {**vars(step), **_rates(step), "findings": [vars(f) for f in step.findings]}


def _rates(row: Step | Total) -> dict[str, Any]:
    return {"gflops": row.gflops, "gbs": row.gbs, "of_limit": row.of_limit}
