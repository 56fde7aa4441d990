"""Run the ONNX node tests and print a table by operator.

    python -m tests.conformance [--backend NAME] [--op NAME] [--most N] [--jobs N]

Every test of `onnx.backend.test` for the ai.onnx domain whose inputs and outputs are tensors of
numbers or booleans is run, in processes that may crash and with a time limit. A test counts as
`pass` when it runs as it is; as `frozen` when it needs the inputs that ONNX uses as shapes, axes or
counts as constants (`PARAMETERS` in tests/conformance/cases.py). Writes `<backend>.json` and
`<backend>.md` under the output folder; a run of some tests brings theirs up to date there. With
`--page` it then writes docs/conformance.md (tools/conformance_page.py).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conformance.reasons import reason_for
from tools import conformance_page

if TYPE_CHECKING:  # these load NumPy
    from tests.conformance.backends import Result
    from tests.conformance.cases import Case

ROOT = Path(__file__).resolve().parent.parent
STATUSES = ("pass", "frozen", "refused", "wrong", "error", "crash", "timeout")


def main(arguments: list[str] | None = None) -> None:
    """Exit code 1 when a test crashed, hung, or was wrong or failed without a refusal, unless the
    reason is on record (tests/conformance/reasons.py).
    """
    options = _options(arguments)
    # One thread a process; set before NumPy loads.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    from tests.conformance.backends import BACKENDS, Result, run_case
    from tests.conformance.cases import load_cases
    from tests.conformance.pool import run_isolated

    cases, left_out = load_cases()
    known = {c.name for c in cases}
    cases = [c for c in cases if options.op in (None, c.op) and (options.name or "") in c.name]
    cases = _first(cases, options.most)
    prepare = BACKENDS[options.backend]
    results: list[Result] = []
    started = time.monotonic()
    run = run_isolated(
        lambda i: run_case(cases[i], prepare), len(cases), options.jobs, options.seconds
    )
    try:
        for index, outcome, value in run:
            name, op = cases[index].name, cases[index].op
            results.append(value if outcome == "done" else Result(name, op, outcome, value))
            if sys.stderr.isatty():
                print(f"\r{len(results)} of {len(cases)}", end="", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"interrupted after {len(results)} of {len(cases)} tests")
    results.sort(key=lambda r: r.name)
    took = time.monotonic() - started
    whole = options.op is None and options.name is None
    print(_markdown(results, left_out, options.backend) if whole else _listing(results))
    print(f"{len(results)} tests in {took:.0f} s")
    folder = Path(options.output)
    if options.most is None:
        _store(folder, options.backend, results, left_out, known)
    if options.page:
        print(conformance_page.write(folder, ROOT / "docs" / "conformance.md"))
    bad = [r for r in results if r.status in ("wrong", "error", "crash", "timeout")]
    if options.backend == "compiled":
        bad = [r for r in bad if not reason_for(r.name, r.status)]
    sys.exit(1 if bad else 0)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    backends = ("compiled", "exported", "onnxruntime", "reference")
    parser.add_argument("--backend", choices=backends, default="compiled")
    parser.add_argument("--op", help="only tests of this operator, listed one by one")
    parser.add_argument("--name", help="only tests whose name contains this")
    parser.add_argument("--most", type=int, help="at most this many tests of each operator")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seconds", type=float, default=120.0, help="time limit of one test")
    parser.add_argument("--page", action="store_true", help="write docs/conformance.md after it")
    parser.add_argument("--output", default=str(ROOT / "build" / "conformance"), help="folder")
    return parser.parse_args(arguments)


def _store(
    folder: Path,
    backend: str,
    results: list[Result],
    left_out: dict[str, int],
    known: set[str],
) -> None:
    """Writes results, which replace those of the same tests that are there already. Tests that are
    not `known` any more are dropped.
    """
    from tests.conformance.backends import Result

    before = conformance_page.read(folder, backend) or {"results": []}
    merged = {r["name"]: Result(**r) for r in before["results"]} | {r.name: r for r in results}
    kept = [merged[name] for name in sorted(merged) if name in known]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{backend}.md").write_text(_markdown(kept, left_out, backend))
    content = {
        "date": conformance_page.today(),
        "left_out": left_out,
        "results": [asdict(r) for r in kept],
    }
    (folder / f"{backend}.json").write_text(json.dumps(content, indent=1))


def _first(cases: list[Case], most: int | None) -> list[Case]:
    """At most `most` cases of each operator."""
    seen: Counter[str] = Counter()
    kept = []
    for case in cases:
        seen[case.op] += 1
        if most is None or seen[case.op] <= most:
            kept.append(case)
    return kept


def _listing(results: list[Result]) -> str:
    return "\n".join(f"{r.status:8} {r.name}  {r.detail}" for r in results)


def _markdown(results: list[Result], left_out: dict[str, int], backend: str) -> str:
    total = Counter(r.status for r in results)
    passed = total["pass"] + total["frozen"]
    share = 100 * passed / max(len(results), 1)
    lines = [
        f"# ONNX node tests, {backend}",
        "",
        f"{passed} of {len(results)} pass ({share:.1f} %): {total['pass']} as they are, "
        f"{total['frozen']} with parameter inputs frozen. "
        + ", ".join(f"{total[s]} {s}" for s in STATUSES[2:])
        + ".",
        "",
        "Left out: "
        + "; ".join(f"{count} for {why}" for why, count in sorted(left_out.items()))
        + ".",
        "",
        "| operator | " + " | ".join(STATUSES) + " |",
        "|---|" + "---:|" * len(STATUSES),
    ]
    groups: dict[str, Counter[str]] = {}
    for result in results:
        groups.setdefault(result.op, Counter())[result.status] += 1
    for op, counts in sorted(groups.items()):
        lines.append(f"| {op} | " + " | ".join(str(counts[s] or "") for s in STATUSES) + " |")
    lines += ["", "## What does not pass", ""]
    lines += [
        f"* `{r.name}` {r.status}: {r.detail}"
        for r in results
        if r.status not in ("pass", "frozen")
    ]
    return "\n".join(lines) + "\n"
