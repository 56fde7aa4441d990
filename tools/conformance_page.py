"""docs/conformance.md: the ONNX node tests by operator, beside ONNX Runtime's own result.

`tools/conformance.py` writes it from the results it keeps in its output folder, when it has those
of both.
"""

from __future__ import annotations

import datetime
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.conformance.reasons import reason_for, stale

PASSED = ("pass", "frozen")
_PEER = "onnxruntime"

Results = Sequence[Mapping[str, str]]


def read(folder: Path, backend: str) -> dict[str, Any] | None:
    """The results of a backend as they were last written, or None."""
    path = folder / f"{backend}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def unexplained(results: Results) -> list[str]:
    """Names of failed tests without a recorded reason."""
    return [
        r["name"]
        for r in results
        if r["status"] not in PASSED and not reason_for(r["name"], r["status"])
    ]


def page(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> str:
    """The page, from the stored results of both."""
    from tests.conformance.drawn import DRAWN, RUNS  # loads NumPy

    results, others = ours["results"], {r["name"]: r["status"] for r in peer["results"]}
    failed = [r for r in results if r["status"] not in PASSED]
    lines = [
        "# ONNX node tests",
        "",
        "<!-- Written by `make conformance`; reasons are in tests/conformance/reasons.py. -->",
        "",
        f"`onnx.backend.test` of onnx {version('onnx')}, run on {ours['date']} on x86-64: "
        "every node test of the ai.onnx domain, training apart, whose inputs and outputs are "
        "tensors of numbers or booleans, each compiled and run by itself with ONNX's tolerances. "
        f"For comparison ONNX Runtime {version(_PEER)} (CPU, one thread) on the same tests, run on "
        f"{peer['date']}.",
        "",
        *_summary(results, others),
        "",
        "*Frozen* tests feed as an input what exporters write as a constant, such as axes and "
        "shapes that decide the size of a result. They pass once those inputs are given with "
        "`constants=`, as a user would; ONNX Runtime needs no constants.",
        "",
        "Some tests expect the random numbers of NumPy's generator, which ONNX leaves open. Of "
        f"these element type and shape are compared, and what the numbers of {RUNS} runs must have "
        "in common with those expected:",
        "",
        "| tests | compared instead |",
        "|---|---|",
        *(f"| `{d.pattern}` | {d.text} |" for d in DRAWN),
        "",
        "## By operator",
        "",
        "| operator | tests | Bireme | of these frozen | ONNX Runtime |",
        "|---|---:|---:|---:|---:|",
        *_rows(results, others),
        "",
        "## What does not pass",
        "",
        "| tests | result | reason |",
        "|---|---|---|",
        *_reasons(failed),
        "",
        "## Left out",
        "",
        *(f"* {count}: {why}" for why, count in sorted(ours["left_out"].items())),
    ]
    return "\n".join(lines) + "\n"


def _summary(results: Results, others: Mapping[str, str]) -> list[str]:
    return [
        "| | pass | of | share | else |",
        "|---|---:|---:|---:|---|",
        _summary_row("Bireme", [r["status"] for r in results]),
        _summary_row("ONNX Runtime", list(others.values())),
        "",
        "*Refused*: not compiled or loaded, with a message that says why. *Error*: failed when "
        "run; for ONNX Runtime these are the types that its Python interface cannot take or give "
        "(bfloat16, float8 and narrower).",
    ]


def _summary_row(name: str, statuses: Sequence[str]) -> str:
    total = Counter(statuses)
    passed = _passed(statuses)
    kinds = ("refused", "wrong", "error", "crash", "timeout")
    rest = ", ".join(f"{total[k]} {k}" for k in kinds if total[k])
    if total["frozen"]:
        rest = f"{total['frozen']} of those that pass are frozen; {rest}"
    share = f"{100 * passed / max(len(statuses), 1):.1f} %"
    return f"| {name} | {passed} | {len(statuses)} | {share} | {rest} |"


def _rows(results: Results, others: Mapping[str, str]) -> list[str]:
    groups: dict[str, list[Mapping[str, str]]] = {}
    for result in results:
        groups.setdefault(result["op"], []).append(result)
    rows = []
    for op, members in sorted(groups.items()):
        passed = _passed(r["status"] for r in members)
        frozen = sum(r["status"] == "frozen" for r in members)
        peer = _passed(others.get(r["name"], "") for r in members)
        rows.append(f"| {op} | {len(members)} | {passed} | {frozen or ''} | {peer} |")
    return rows


def _reasons(failed: Results) -> list[str]:
    groups: dict[tuple[str, str], list[str]] = {}
    for r in failed:
        text = reason_for(r["name"], r["status"]) or f"**No reason recorded.** {r['detail']}"
        groups.setdefault((r["status"], text), []).append(f"`{r['name']}`")
    return [
        f"| {', '.join(names)} | {status} | {text.replace('|', chr(92) + '|')} |"
        for (status, text), names in groups.items()
    ]


def _passed(statuses: Iterable[str]) -> int:
    return sum(status in PASSED for status in statuses)


def write(folder: Path, path: Path) -> str:
    """Writes the page if both results are there. Gives what to tell the user."""
    ours, peer = read(folder, "compiled"), read(folder, _PEER)
    if ours is None or peer is None:
        missing = "compiled" if ours is None else _PEER
        return f"no page: run --backend {missing} first"
    path.write_text(page(ours, peer))
    failed = [(r["name"], r["status"]) for r in ours["results"] if r["status"] not in PASSED]
    notes = [f"wrote {os.path.relpath(path)}"]
    notes += [f"no reason is recorded for {name}" for name in unexplained(ours["results"])]
    notes += [f"nothing needs the reason for {r.pattern} any more" for r in stale(failed)]
    return "\n".join(notes)


def today() -> str:
    """The date that results carry."""
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()
