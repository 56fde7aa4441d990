"""An engine's process: converts a model, or loads it and then runs and times it on request.

Runs in the engine's environment, so it needs only NumPy. `python -m benchmarks.worker convert
ENGINE FOLDER` ends with status 0 or prints the reason; `serve ENGINE FOLDER THREADS` answers
pickled requests on standard input: ("load", None) -> milliseconds to the first result and megabytes
that the process grew by, ("run", None) -> outputs, ("time", (seconds, cpu_time)) -> milliseconds. A
request that fails is answered by a text.
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import IO, Any

import numpy as np

from benchmarks.engines import ENGINES, Feed, Run

LEAST_RUNS = 3
LONG = 1000.0  # milliseconds


def time_runs(run: Run, feed: Feed, seconds: float, cpu_time: bool = False) -> float:
    """Median milliseconds of the runs that fit in `seconds`, at least three, warmed up.

    A run that takes over a second is its own warm-up, and one is enough. With `cpu_time`, the least
    that the process computed in a run: for one thread on a busy machine, where interruptions only
    add.
    """
    clock = process_time if cpu_time else perf_counter

    def once() -> float:
        start = clock()
        run(feed)
        return (clock() - start) * 1e3

    first = once()
    if first > LONG:
        return first
    times: list[float] = []
    end = perf_counter() + seconds
    while perf_counter() < end or len(times) < LEAST_RUNS:
        times.append(once())
    return min(times) if cpu_time else median(times)


def resident() -> float:
    """Megabytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Server:
    """A loaded engine that answers requests."""

    def __init__(self, engine: str, folder: Path, threads: int) -> None:
        self.engine, self.folder, self.threads = ENGINES[engine], folder, threads
        with np.load(folder / "feed.npz") as feed:
            self.feed: Feed = dict(feed)
        self.run: Run = self._not_loaded

    def _not_loaded(self, _: Feed) -> list[Any]:
        raise RuntimeError("nothing is loaded")

    def answer(self, what: str, value: Any) -> Any:
        """What a request asks for."""
        if what == "load":
            return self._load()
        if what == "run":
            return [np.array(output) for output in self.run(self.feed)]
        return time_runs(self.run, self.feed, *value)

    def _load(self) -> tuple[float, float]:
        for library in self.engine.libraries:
            importlib.import_module(library)
        module = importlib.import_module(f"benchmarks.engines.{self.engine.module}")
        before, start = resident(), perf_counter()
        self.run = module.load(self.folder, self.threads, self.engine.precision)
        self.run(self.feed)
        return (perf_counter() - start) * 1e3, resident() - before


def serve(server: Server, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answers requests until there are no more."""
    while True:
        try:
            what, value = pickle.load(requests)
        except EOFError:
            return
        try:
            answer = server.answer(what, value)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        pickle.dump(answer, answers)
        answers.flush()


def main() -> None:
    """Converts or serves. Engines may print: what they print goes to the log."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    action, engine, folder, *rest = sys.argv[1:]
    if action == "serve":
        serve(Server(engine, Path(folder), int(rest[0])), sys.stdin.buffer, answers)
        return
    module = importlib.import_module(f"benchmarks.engines.{ENGINES[engine].module}")
    try:
        module.convert(Path(folder), ENGINES[engine].precision)
    except Exception as error:
        answers.write(f"{type(error).__name__}: {error}".encode())
        answers.flush()
        raise


if __name__ == "__main__":
    main()
