"""What `--precision` chose, for people and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from bireme.ir.errors import counted
from bireme.passes.guard import Decision, PrecisionReport

# Contractions that stay float32, listed one by one.
_LISTED = 8


def precision_lines(report: PrecisionReport) -> list[str]:
    """A summary: what was reduced, each reason for float32 with the nodes that it holds for, and
    the measured error.
    """
    total = len(report.decisions)
    lines = [f"{report.dtype} in {report.reduced} of {counted(total, 'contraction')}"]
    by_reason: dict[str, list[Decision]] = {}
    for decision in report.decisions:
        if decision.reason:
            by_reason.setdefault(decision.reason, []).append(decision)
    for reason, decisions in by_reason.items():
        lines.append(f"  float32, {reason}: {_nodes(decisions)}")
    if report.max_relative is not None:
        sets = counted(report.inputs, "set", "sets")
        kind = "made-up inputs" if report.made_up else "inputs"
        lines.append(
            f"  on {sets} of {kind} outputs differ from float32 by {report.max_relative:.1e} of "
            f"their largest element at most, cosine {report.cosine:.6f}"
        )
    if report.reduced and (report.made_up or report.max_relative is None):
        lines.append("  not tested on real inputs: give some with --calibration")
    return lines


def _nodes(decisions: Sequence[Decision]) -> str:
    named = [" + ".join(d.nodes) or f"{d.op} number {d.number}" for d in decisions]
    more = f" and {len(named) - _LISTED} more" if len(named) > _LISTED else ""
    return ", ".join(named[:_LISTED]) + more


def precision_fields(report: PrecisionReport) -> dict[str, object]:
    """The whole report as JSON has it."""
    return {**asdict(report), "reduced": report.reduced}
