"""Tunes the networks of `benchmarks.models` and writes the records that ship with a target.

    python -m benchmarks.records --minutes 10 [MODEL ...]

Each network is tuned with one thread; of what that finds, those records stay that make their kernel
faster with all cores, too, because artefacts do not know how many threads will run them. What each
network gave is in build/records, where a run that was stopped goes on: a network that is done is
not tuned again until its file is removed. The machine must be quiet.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.environments import ROOT
from benchmarks.models import MODELS
from bireme import tune
from bireme.codegen.compiler import Options
from bireme.codegen.records import Database, read_database, shipped
from bireme.codegen.tune.profile import Wish, profile
from bireme.codegen.tune.runner import local_runner
from bireme.codegen.tune.verify import Verified, verify
from bireme.frontend import onnx
from bireme.ir import Graph
from bireme.targets.registry import Target, find

FOLDER = ROOT / "build" / "records"


def tuned(graph: Graph, target: Target, minutes: float, unfinished: Path) -> Verified:
    """The records of a network that are of use with one thread and with all cores."""
    found = tune(graph, unfinished, target.name, minutes=minutes, threads=1, options=Options())
    everywhere, wish = local_runner(None), Wish(0.0, found.level)
    if everywhere.threads == 1 or not found.verified.kept:
        return found.verified
    there = profile(graph, target, wish, Database(), everywhere)
    numbers = {task.key: task.number for task in there.tasks}
    records = {numbers[r.key]: r for r in found.verified.kept if r.key in numbers}
    return verify(graph, target, wish, there, records, everywhere)


def main() -> None:
    """Tunes what is not done, then writes the target's file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--minutes", type=float, default=10.0, help="for each network")
    parser.add_argument("--target", default="x86")
    options = parser.parse_args()
    target = find(options.target)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in options.models or MODELS:
        done = FOLDER / f"{name}.jsonl"
        if not done.exists():
            graph = onnx.load(MODELS[name].build()[0])
            unfinished = FOLDER / f"{name}.unfinished"
            found = tuned(graph, target, options.minutes, unfinished)
            Database(found.kept).write(done)
            unfinished.unlink()
            gain = 1 / found.time.value
            print(f"{name}: {len(found.kept)} records, {gain:.3f} times as fast", flush=True)
        merged = Database(shipped(target))
        for record in read_database(done):
            merged.add(record)
        merged.write(target.records_path())
        shipped.cache_clear()


if __name__ == "__main__":
    main()
