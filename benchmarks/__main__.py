"""Bireme beside other engines: `make bench`, or `python -m benchmarks`.

Every engine gets the same ONNX files and works in a process of its own, in an environment of its
own. Outputs are compared before anything is timed; rounds are interleaved, so that all meet the
same machine. With two threads the time of a cache line from core to core is taken around every
burst, and bursts are kept if the cores were near each other.

Results are written after each model and number of threads, and a run that is cut goes on with
`--resume`. A quiet machine can so be used in pieces: `--prepare` converts for all engines before,
and `--resume --minutes 10` measures what fits and is repeated until it says that nothing is left.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import numpy as np

from benchmarks import machine
from benchmarks.engines import ENGINES
from benchmarks.environments import ROOT, NotInstalled, install, interpreter, version
from benchmarks.measure import Failed, Result, Rounds, convert, measure, reference_outputs
from benchmarks.models import MODELS, multiply_adds
from benchmarks.page import write_page
from benchmarks.report import Mismatch, Report, print_report
from bireme.codegen.files import write_file
from bireme.codegen.limits import machine_limits

FOLDER = ROOT / "build" / "benchmarks"
# In a model's folder: engine → why it could not convert the model, or an empty text.
CONVERTED = "converted.json"


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


def prepare(
    name: str, engines: list[str], broken: dict[str, str], resume: bool = False
) -> tuple[dict[str, str], int]:
    """Writes a model for all engines; gives why engines cannot take it, and its multiply-adds.

    With `resume`, what other engines made of it in an earlier run is used again.
    """
    folder = FOLDER / name
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / CONVERTED
    converted: dict[str, str] = json.loads(done.read_text()) if done.exists() else {}
    model, feed = MODELS[name].build()
    write_file(folder / "model.onnx", model.SerializeToString())
    np.savez(folder / "feed.npz", allow_pickle=False, **feed)
    (folder / "outputs.txt").write_text("\n".join(o.name for o in model.graph.output))
    reasons = {engine: broken.get(engine, "") for engine in engines}
    for engine in engines:
        if not reasons[engine] and (engine not in converted or ENGINES[engine].requirements == ""):
            converted[engine] = _convert(engine, folder)
            write_file(done, json.dumps(converted).encode())
        reasons[engine] = reasons[engine] or converted[engine]
    return reasons, multiply_adds(model)


def _convert(engine: str, folder: Path) -> str:
    """Why it failed, or an empty text."""
    try:
        convert(engine, folder)
    except Failed as error:
        return str(error)
    return ""


def start_report(options: argparse.Namespace, engines: list[str], broken: dict[str, str]) -> Report:
    """What this run will be read by, with the results of the run that it resumes."""
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
    if options.resume and options.json.exists():
        report.resume(Report.load(options.json))
    return report


def run(options: argparse.Namespace) -> tuple[Report, bool]:
    """Measures what has not been measured, until the time is up; False if something is left."""
    end = monotonic() + 60 * options.minutes if options.minutes else float("inf")
    engines = chosen(options.engines)
    broken = prepare_engines(engines)
    report = start_report(options, engines, broken)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    rounds = Rounds(options.rounds, options.seconds, options.cpu_time)
    for name in options.models or MODELS:
        missing = [t for t in options.threads if report.lacks(name, engines, t)]
        if not missing:
            continue
        if monotonic() > end:
            return report, False
        folder = FOLDER / name
        print(f"{name}: preparing", flush=True)
        reasons, report.multiply_adds[name] = prepare(name, engines, broken, options.resume)
        wanted = reference_outputs(folder)
        for threads in missing:
            print(f"{name}: {threads} threads", flush=True)
            found = measure(name, reasons, folder, threads, rounds, wanted, machine.round_trip)
            report.put(found)
            report.save(options.json)
            for result in found:
                _tell(result)
        if not options.keep:
            shutil.rmtree(folder)
    return report, True


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
    parser.add_argument("--prepare", action="store_true", help="only convert, for --resume")
    parser.add_argument("--resume", action="store_true", help="measure what --json lacks")
    parser.add_argument("--minutes", type=float, help="begin no further model after this time")
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
    if options.prepare:
        engines = chosen(options.engines)
        broken = prepare_engines(engines)
        for name in options.models or MODELS:
            print(f"{name}: preparing", flush=True)
            prepare(name, engines, broken, resume=True)
        return 0
    try:
        report, complete = run(options)
    except Mismatch as error:
        parser.error(f"{options.json} cannot be resumed: {error}")
    print_report(report)
    print("nothing is left" if complete else "there is more to measure: repeat it with --resume")
    if options.page:
        write_page(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
