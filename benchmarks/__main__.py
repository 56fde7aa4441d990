"""Bireme beside other engines: `make bench`, or `python -m benchmarks`.

Every engine gets the same ONNX files and works in a process of its own, in an environment of its
own. Outputs are compared before anything is timed; rounds are interleaved, so that all meet the
same machine. With two threads the time of a cache line from core to core is taken around every
burst, and bursts are kept if the cores were near each other.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks import machine
from benchmarks.engines import ENGINES
from benchmarks.environments import ROOT, NotInstalled, install, interpreter, version
from benchmarks.measure import Failed, Result, Rounds, convert, measure, reference_outputs
from benchmarks.models import MODELS, multiply_adds
from benchmarks.page import write_page
from benchmarks.report import Report, print_report
from bireme.codegen.files import write_file
from bireme.codegen.limits import machine_limits

FOLDER = ROOT / "build" / "benchmarks"


def chosen(names: list[str] | None) -> list[str]:
    """The engines named; by default those that are quick to install and to convert for."""
    if names == ["all"]:
        return list(ENGINES)
    return names or [name for name, engine in ENGINES.items() if not engine.slow]


def prepare_engines(engines: list[str]) -> dict[str, str]:
    """Installs what is missing; gives the reason where that fails."""
    reasons: dict[str, str] = {}
    for engine in engines:
        try:
            install(ENGINES[engine].requirements)
        except NotInstalled as error:
            reasons[engine] = str(error)
    return reasons


def prepare(name: str, engines: list[str], broken: dict[str, str]) -> tuple[dict[str, str], int]:
    """Writes a model for all engines; gives why engines cannot take it, and its multiply-adds."""
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model, feed = MODELS[name].build()
    write_file(folder / "model.onnx", model.SerializeToString())
    np.savez(folder / "feed.npz", allow_pickle=False, **feed)
    (folder / "outputs.txt").write_text("\n".join(o.name for o in model.graph.output))
    reasons = {engine: broken.get(engine, "") for engine in engines}
    for engine in engines:
        reasons[engine] = reasons[engine] or _convert(engine, folder)
    return reasons, multiply_adds(model)


def _convert(engine: str, folder: Path) -> str:
    """Why it failed, or an empty text."""
    try:
        convert(engine, folder)
    except Failed as error:
        return str(error)
    return ""


def run(options: argparse.Namespace) -> Report:
    """Measures all models."""
    engines = chosen(options.engines)
    broken = prepare_engines(engines)
    report = Report(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        cpu=machine.cpu(),
        cores=len(os.sched_getaffinity(0)),
        peak=machine_limits(1, again=True).gflops,
        cpu_time=options.cpu_time,
        note=options.note,
    )
    for engine in engines:
        if engine not in broken:
            python = interpreter(ENGINES[engine].requirements)
            packages = ENGINES[engine].packages
            report.versions[engine] = " ".join(f"{p} {version(python, p)}" for p in packages)
    print(f"{report.cpu}, {report.cores} cores, {report.peak:.1f} GFLOP/s float32 each", flush=True)
    rounds = Rounds(options.rounds, options.seconds, options.cpu_time)
    for name in options.models or MODELS:
        print(f"{name}: preparing", flush=True)
        reasons, report.multiply_adds[name] = prepare(name, engines, broken)
        wanted = reference_outputs(FOLDER / name)
        for threads in options.threads:
            print(f"{name}: {threads} threads", flush=True)
            folder = FOLDER / name
            found = measure(name, reasons, folder, threads, rounds, wanted, machine.round_trip)
            report.results += found
            for result in found:
                _tell(result)
        if not options.keep:
            shutil.rmtree(FOLDER / name)
        report.save(options.json)
    return report


def _tell(result: Result) -> None:
    """A line of progress."""
    time = result.milliseconds
    what = f"{time:9.3f} ms" if time is not None else f"– {result.reason.splitlines()[0][:120]}"
    print(f"  {result.engine:14} {what}", flush=True)


def main() -> int:
    """Measures, prints tables, writes JSON and the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--engines", nargs="+", metavar="ENGINE", help=f"all, {', '.join(ENGINES)}")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a burst")
    parser.add_argument("--cpu-time", action="store_true", help="not wall time; one thread only")
    parser.add_argument("--json", type=Path, default=FOLDER / "results.json", help="results")
    parser.add_argument("--page", action="store_true", help="also write docs/benchmarks.md")
    parser.add_argument("--note", default="", help="what a reader of the page must know")
    parser.add_argument("--keep", action="store_true", help="keep models and logs in build/")
    parser.add_argument("--install", nargs="+", metavar="NAME", help="only make environments")
    options = parser.parse_args()
    if options.install:
        for name in options.install:
            install(name)
        return 0
    for kind, known, given in (
        ("model", MODELS, options.models),
        ("engine", [*ENGINES, "all"], options.engines or []),
    ):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"there is no {kind} {', '.join(unknown)}")
    if options.cpu_time and options.threads != [1]:
        parser.error("--cpu-time is for --threads 1")
    report = run(options)
    print_report(report)
    if options.page:
        write_page(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
