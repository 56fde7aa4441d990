"""What this machine can do at most, measured: multiply-adds, bandwidth of each level of memory, and
what a launch costs.

Measured once for a processor and a number of threads, with kernels of our own (`limit_kernels`) on
our own runtime, and kept in the user's cache folder. A folder that cannot be written to only means
that it is measured again the next time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from bireme.codegen.cache import default_folder
from bireme.codegen.files import write_file
from bireme.codegen.machine import Machine, this_machine
from bireme.ir import BiremeError
from bireme.runtime import Model, Session, pool_threads
from bireme.targets.registry import find

MEMORY = "memory"
# Part of the key of what is kept: to be raised when the way to measure changes.
_VERSION = 2
# The kernels run on every CPU of the family; the loader picks the best code.
_TARGETS = {"x86_64": "x86:generic", "AMD64": "x86:generic"}
# Short ones, so that some of the rounds meet a machine that does nothing else.
_ROUNDS = 60
_SECONDS = 0.5  # that the rounds of one measurement may take
_TURNS = 20_000  # of multiply-adds: a tenth of a millisecond or so
_BYTES = 24 << 20  # that a task moves, likewise
_WAKING = 8  # times as long where threads have to wake first
_EMPTY_STEPS = 4096
# Part of a cache that is filled: all of it never stays.
_FILL = 0.5
_LARGEST = 128 << 20


@dataclass(frozen=True)
class Level:
    """A level of memory: its name, bytes that fit (None: any number), and GB/s read and written by
    all threads together.
    """

    name: str
    bytes: int | None
    read_gbs: float
    write_gbs: float


@dataclass(frozen=True)
class Limits:
    """A machine at its best, on `threads` threads.

    `isa` is the instruction set of the code that was measured, `gflops` its multiply-adds in
    float32 (two operations each) by all threads; `levels` go from the first cache to memory;
    `step_ns` is the cost of an empty step of a plan, `measuring_ns` what measuring adds to a step.
    """

    cpu: str
    isa: str
    threads: int
    gflops: float
    levels: tuple[Level, ...]
    step_ns: float
    measuring_ns: float


def machine_limits(threads: int | None = None, *, again: bool = False) -> Limits:
    """The limits for a number of threads, None for all of the pool: as kept, or measured now, which
    takes some seconds. `again` measures in any case and keeps the better of old and new: what else
    runs on a machine can only hide its limits.

    Raises BM6007 on a processor that there is no code for.
    """
    available = pool_threads()
    threads = min(threads or available, available)
    machine = this_machine()
    path = _path(machine, threads)
    found = _read(path)
    if found is None or again:
        fresh = measure(machine, threads)
        found = fresh if found is None else _better(found, fresh)
        _keep(path, found)
    if threads == 1:
        return found
    return _better(found, machine_limits(1))  # threads that were kept waiting prove nothing


def _better(ours: Limits, other: Limits) -> Limits:
    """The limits `ours`, raised to what `other` has reached."""
    levels = tuple(
        Level(a.name, a.bytes, max(a.read_gbs, b.read_gbs), max(a.write_gbs, b.write_gbs))
        for a, b in zip(ours.levels, other.levels, strict=True)
    )
    return replace(
        ours,
        gflops=max(ours.gflops, other.gflops),
        levels=levels,
        step_ns=min(ours.step_ns, other.step_ns),
        measuring_ns=min(ours.measuring_ns, other.measuring_ns),
    )


def measure(machine: Machine, threads: int) -> Limits:
    """Measures; see `machine_limits`."""
    # TVM is needed here only, and loads slowly.
    from bireme.codegen import limit_kernels as kernels

    architecture = machine.identity.partition("/")[0]
    if architecture not in _TARGETS:
        raise BiremeError("BM6007", f"no code for a processor of the kind {architecture}")
    description = find(_TARGETS[architecture]).description
    meters = {
        kernel: _Meter(
            kernels.limit_artefact(
                kernel, description, _EMPTY_STEPS if kernel == kernels.NOTHING else 1
            ),
            threads,
        )
        for kernel in (kernels.MULTIPLY_ADD, kernels.READ, kernels.WRITE, kernels.NOTHING)
    }
    isa = meters[kernels.READ].isa
    level = next(each for each in description.levels if each.name == isa)
    longer = 1 if threads == 1 else _WAKING
    turns = _TURNS * longer
    products = kernels.multiply_adds(level) * turns * threads
    gflops = 2 * products / meters[kernels.MULTIPLY_ADD].nanoseconds(turns, 1)
    unit = kernels.vector_bytes(level)
    levels = []
    for name, room, share in _sizes(machine, threads):
        share = max(share // unit, 1) * unit
        turns = max(1, _BYTES * longer // share)
        moved = share * turns * threads
        rates = [
            moved / meters[kernel].nanoseconds(turns, share // 4)
            for kernel in (kernels.READ, kernels.WRITE)
        ]
        levels.append(Level(name, room, *rates))
    plain, measured = meters[kernels.NOTHING].run_nanoseconds()
    step, measuring = plain / _EMPTY_STEPS, max(measured - plain, 0) / _EMPTY_STEPS
    return Limits(machine.cpu, isa, threads, gflops, tuple(levels), step, measuring)


def _sizes(machine: Machine, threads: int) -> Iterator[tuple[str, int | None, int]]:
    """For each level of memory its name, the bytes that fit for all threads together, and the bytes
    that each thread works on to measure it.
    """
    last = len(machine.caches) - 1
    largest = 0
    for number, (name, size) in enumerate(machine.caches):
        # The last cache is shared by the cores, those before it belong to one each.
        shared = number == last and number > 1
        room = size if shared else size * threads
        yield name, room, int(room * _FILL) // threads
        largest = room
    yield MEMORY, None, min(4 * largest, _LARGEST) // threads


class _Meter:
    """One kernel, ready to run."""

    def __init__(self, artefact: bytes, threads: int) -> None:
        model = Model.load(artefact)
        self.isa = model.isa
        self._threads = threads
        self._measured = Session(model, threads=threads, profile=True, trace=_EMPTY_STEPS)
        self._plain = Session(model, threads=threads)

    def nanoseconds(self, turns: int, floats: int) -> float:
        """Least time of a launch with a task for each thread."""
        feed = self._feed(turns, floats)
        times: list[int] = []
        before = 0
        end = perf_counter_ns() + _SECONDS * 1e9
        while len(times) < 3 or (len(times) < _ROUNDS and perf_counter_ns() < end):
            self._measured.run(feed)
            after = sum(entry.nanoseconds for entry in self._measured.profile())
            times.append(after - before)
            before = after
        return max(min(times), 1)

    def run_nanoseconds(self) -> list[int]:
        """Least time of a run of all launches, without measuring them and with it."""
        feed = self._feed(1, 1)
        times: list[list[int]] = [[], []]
        for _ in range(_ROUNDS):
            for session, found in zip((self._plain, self._measured), times, strict=True):
                start = perf_counter_ns()
                session.run(feed)
                found.append(perf_counter_ns() - start)
        return [min(found) for found in times]

    def _feed(self, turns: int, floats: int) -> dict[str, Any]:
        from bireme.codegen import limit_kernels as kernels

        lengths = {kernels.TASKS: self._threads, kernels.TURNS: turns, kernels.FLOATS: floats}
        # At least a vector for the kernels that read their input once.
        data = np.ones(max(self._threads * floats, 64), np.float32)
        return {name: np.zeros(n, np.bool_) for name, n in lengths.items()} | {"data": data}


# --- what is kept ---------------------------------------------------------------------------------


def _path(machine: Machine, threads: int) -> Path:
    key = hashlib.sha256(f"{_VERSION}/{machine.identity}/{threads}".encode()).hexdigest()
    return default_folder().parent / "limits" / f"{key[:32]}.json"


def _read(path: Path) -> Limits | None:
    """What is kept, or None if it is missing or damaged."""
    try:
        fields: Mapping[str, Any] = json.loads(path.read_bytes())
        levels = tuple(Level(**level) for level in fields["levels"])
        return Limits(**{**fields, "levels": levels})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(path: Path, limits: Limits) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, json.dumps(asdict(limits), indent=2).encode())
    except (OSError, BiremeError):
        pass  # measured again the next time
