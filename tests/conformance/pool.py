"""Runs a function on many items in processes that may crash or hang without harm."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

_FORK = multiprocessing.get_context("fork")


@dataclass
class _Worker:
    """A process, our end of its pipe, and the item it works on since `started`."""

    process: Any
    pipe: Connection
    item: int | None = None
    started: float = 0.0


def run_isolated(
    function: Callable[[int], Any], count: int, jobs: int, seconds: float
) -> Iterator[tuple[int, str, Any]]:
    """Calls `function(i)` for i below `count`; yields (i, "done" | "crash" | "timeout", result).

    `function` may be a closure: workers are forks. An item that takes over `seconds` is killed.
    """
    pending = list(reversed(range(count)))
    workers = [_start(function) for _ in range(min(jobs, count))]
    try:
        while pending or any(w.item is not None for w in workers):
            for index, worker in enumerate(workers):
                if worker.item is None and pending:
                    if not worker.process.is_alive():
                        workers[index] = worker = _start(function)
                    worker.item, worker.started = pending.pop(), time.monotonic()
                    worker.pipe.send(worker.item)
            busy = [w for w in workers if w.item is not None]
            wait([w.pipe for w in busy], timeout=0.5)
            for worker in busy:
                outcome = _outcome(worker, seconds)
                if outcome is not None:
                    assert worker.item is not None
                    yield worker.item, *outcome
                    worker.item = None
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()


def _start(function: Callable[[int], Any]) -> _Worker:
    ours, theirs = _FORK.Pipe()
    process = _FORK.Process(target=_serve, args=(function, theirs, ours), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _serve(function: Callable[[int], Any], pipe: Connection, other_end: Connection) -> None:
    other_end.close()
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        pipe.send(function(item))


def _outcome(worker: _Worker, seconds: float) -> tuple[str, Any] | None:
    """What became of the worker's item, or None while it runs."""
    if worker.pipe.poll():
        try:
            return "done", worker.pipe.recv()
        except EOFError:
            worker.process.join()
            return "crash", f"exit code {worker.process.exitcode}"
    if time.monotonic() - worker.started > seconds:
        worker.process.kill()
        worker.process.join()
        return "timeout", f"more than {seconds:.0f} s"
    return None
