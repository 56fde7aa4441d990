"""What a run found, as JSON and as a table."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.engines import ENGINES
from benchmarks.measure import Result
from bireme.cli.output import print_table
from bireme.codegen.files import write_file

OURS = "bireme"
PRECISIONS = ("float32", "bfloat16")


class Mismatch(Exception):
    """Results of two runs cannot stand in one table; the text says why."""


@dataclass
class Report:
    """All results of a run and what is needed to read them.

    `peak` is in GFLOP/s of one core, `multiply_adds` by model, `versions` by engine.
    """

    date: str
    cpu: str
    cores: int
    peak: float
    cpu_time: bool
    note: str = ""  # what a reader must know of this run
    versions: dict[str, str] = field(default_factory=dict)
    multiply_adds: dict[str, int] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)

    def limit(self, model: str, threads: int) -> float:
        """Milliseconds that the multiply-adds take at the float32 peak."""
        return 2 * self.multiply_adds[model] / (self.peak * threads) / 1e6

    def find(self, model: str, engine: str, threads: int) -> Result | None:
        """One cell."""
        for result in self.results:
            if (result.model, result.engine, result.threads) == (model, engine, threads):
                return result
        return None

    def milliseconds(self, model: str, engine: str, threads: int) -> float | None:
        """One cell's time, None where there is none."""
        found = self.find(model, engine, threads)
        return found.milliseconds if found else None

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(r.model for r in self.results))

    @property
    def threads(self) -> list[int]:
        return sorted({r.threads for r in self.results})

    def engines(self, precision: str) -> list[str]:
        """Engines of a precision that took part, Bireme first."""
        seen = {r.engine for r in self.results}
        return [e for e in ENGINES if e in seen and ENGINES[e].precision == precision]

    def best_peer(self, model: str, threads: int, precision: str) -> tuple[str, float] | None:
        """The fastest other engine of this precision, and its milliseconds."""
        times = {
            engine: self.milliseconds(model, engine, threads)
            for engine in self.engines(precision)
            if ENGINES[engine].requirements
        }
        known = {engine: time for engine, time in times.items() if time is not None}
        best = min(known, key=known.__getitem__, default=None)
        return (best, known[best]) if best else None

    def ratio(self, model: str, threads: int) -> float | None:
        """The fastest float32 peer's time over ours: above 1 we are faster."""
        ours = self.milliseconds(model, OURS, threads)
        best = self.best_peer(model, threads, "float32")
        return best[1] / ours if ours and best else None

    def put(self, results: Sequence[Result]) -> None:
        """Adds cells; those that are there already are replaced."""
        cells = {(r.model, r.engine, r.threads): r for r in (*self.results, *results)}
        self.results = list(cells.values())

    def lacks(self, model: str, engines: Iterable[str], threads: int) -> bool:
        """Whether one of these cells has not been measured."""
        return any(self.find(model, engine, threads) is None for engine in engines)

    def resume(self, before: Report) -> None:
        """Takes over what an earlier run measured on this machine with the same engines.

        Raises Mismatch where the two cannot stand in one table.
        """
        both = before.versions.keys() & self.versions.keys()
        for what, earlier, now in (
            ("processor", before.cpu, self.cpu),
            ("cores", before.cores, self.cores),
            ("processor time", before.cpu_time, self.cpu_time),
            *((title(e), before.versions[e], self.versions[e]) for e in sorted(both)),
        ):
            if earlier != now:
                raise Mismatch(f"{what}: {earlier} before, {now} now")
        self.peak = max(self.peak, before.peak)
        self.note = self.note or before.note
        self.versions = before.versions | self.versions
        self.multiply_adds = before.multiply_adds | self.multiply_adds
        self.put(before.results)

    def save(self, path: Path) -> None:
        """Writes the JSON file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, (json.dumps(dataclasses.asdict(self), indent=1) + "\n").encode())

    @staticmethod
    def load(path: Path) -> Report:
        """Reads it back."""
        found: dict[str, Any] = json.loads(path.read_text())
        found["results"] = [Result(**r) for r in found["results"]]
        return Report(**found)


def geometric_mean(values: Iterable[float]) -> float:
    """Of positive numbers; nan of none."""
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def shown(value: float | None) -> str:
    """Three digits, a dash for nothing."""
    if value is None:
        return "–"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def title(engine: str) -> str:
    """How an engine is called in a heading."""
    found = ENGINES[engine]
    return found.title if found.precision == "float32" else f"{found.title} {found.precision}"


def rows(report: Report, threads: int, precision: str) -> tuple[list[str], list[list[str]]]:
    """Columns and lines of the table of times in milliseconds."""
    engines = report.engines(precision)
    heads = ["model", *(title(e) for e in engines)]
    heads += ["ratio", "of the limit"] if precision == "float32" else []
    lines: list[list[str]] = []
    for model in report.models:
        line = [model]
        for engine in engines:
            found = report.find(model, engine, threads)
            line.append(cell(found))
        if precision == "float32":
            ours = report.milliseconds(model, OURS, threads)
            line.append(shown(report.ratio(model, threads)))
            line.append(f"{report.limit(model, threads) / ours:.0%}" if ours else "–")
        lines.append(line)
    return heads, lines


def cell(result: Result | None) -> str:
    """A time, starred where the cores were far from each other; the error of lower precisions."""
    time = result.milliseconds if result else None
    if result is None or time is None:
        return shown(None)
    text = f"{shown(time)}*" if result.state else shown(time)
    exact = ENGINES[result.engine].precision == "float32" or result.error is None
    return text if exact else f"{text} ({result.error:.0e})"


def summary(report: Report, threads: int) -> str:
    """One line: how we stand in float32."""
    ratios = {m: report.ratio(m, threads) for m in report.models}
    known = {m: r for m, r in ratios.items() if r is not None}
    if not known:
        return f"{threads} threads: nothing to compare"
    behind = [f"{m} {r:.2f}" for m, r in sorted(known.items(), key=lambda i: i[1]) if r < 1]
    mean = geometric_mean(known.values())
    text = f"{threads} threads: geometric mean {mean:.2f} over {len(known)} models"
    return text + (f"; behind on {', '.join(behind)}" if behind else "; behind on none")


def print_report(report: Report) -> None:
    """Tables for people, then the reasons for dashes."""
    kind = "processor time, least" if report.cpu_time else "medians"
    for threads in report.threads:
        for precision in PRECISIONS:
            if not report.engines(precision):
                continue
            heads, lines = rows(report, threads, precision)
            name = f"{precision}, {threads} threads, batch 1, ms ({kind} of rounds)"
            print_table(name, heads, lines)
        print(summary(report, threads))
    for reason, where in reasons(report.results).items():
        print(f"– {', '.join(where)}: {reason.splitlines()[0][:160]}")


def reasons(results: Sequence[Result]) -> Mapping[str, list[str]]:
    """Why cells are empty: reason → `engine on model`, each once."""
    found: dict[str, list[str]] = {}
    for result in results:
        if result.reason:
            cells = found.setdefault(result.reason, [])
            name = f"{title(result.engine)} on {result.model}"
            cells += [name] if name not in cells else []
    return found
