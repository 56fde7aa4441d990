"""Compiles the kernels of a model: from the cache where it can, in parallel where it must."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from bireme.codegen.cache import CompiledKernel, KernelCache, entry_key
from bireme.codegen.kernel import Emitted
from bireme.codegen.spec import KernelSpec
from bireme.codegen.wire import Refusal, Request, receive, send
from bireme.ir import BiremeError
from bireme.targets.description import InstructionSet
from bireme.targets.registry import KernelFunction, Target


class KernelFaults(Exception):
    """Kernels that could not be generated: the error of each, by its number among the kernels."""

    def __init__(self, errors: Mapping[int, BiremeError]) -> None:
        self.errors = errors
        super().__init__("; ".join(map(str, errors.values())))


# (kernels done, kernels in all)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Job:
    spec: KernelSpec
    level: int
    key: str


def attempt(generate: KernelFunction, spec: KernelSpec, level: InstructionSet) -> Any:
    """What `generate` gives, or the error that it raises: BM3005 for what no check foresees."""
    try:
        return generate(spec, level)
    except BiremeError as error:
        return error
    except Exception as error:  # whatever TVM raises must reach the user with its kernel's name
        fault = BiremeError("BM3005", f"{type(error).__name__}: {error}"[-2000:])
        fault.__cause__ = error
        return fault


class _Worker:
    """One compile process; another takes its place when it crashes."""

    def __init__(self) -> None:
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "bireme.codegen.worker"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def compile(self, target: Target, job: _Job) -> CompiledKernel | BiremeError:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            send(self._process.stdin, Request(target.name, job.level, job.spec))
            answer = receive(self._process.stdout)
        except OSError:
            answer = None
        if isinstance(answer, CompiledKernel):
            return answer
        if isinstance(answer, Refusal):
            return BiremeError(answer.code, answer.detail, where=answer.where, hint=answer.hint)
        self.close()
        self._process = self._started()
        return BiremeError("BM3005", f"the compiler crashed on the kernel\n{job.spec.text}")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


# What was emitted, by the kernel's key and the level.
Emissions = dict[tuple[str, InstructionSet], Any]


def emit_kernels(
    specs: Sequence[KernelSpec], target: Target, known: Emissions | None = None
) -> tuple[list[list[Emitted]], dict[int, BiremeError]]:
    """For each specification its kernel for each of the target's levels, without object code.

    With the emissions, the error of each specification that has one, by its number; it has no
    emissions then. `known` is looked into and added to: chips of one target share levels.
    """
    known = {} if known is None else known
    emitted: list[list[Emitted]] = []
    errors: dict[int, BiremeError] = {}
    for number, spec in enumerate(specs):
        key = spec.key
        for level in target.description.levels:
            if (key, level) not in known:
                known[key, level] = attempt(target.emitter(), spec, level)
        made = [known[key, level] for level in target.description.levels]
        faults = [m for m in made if isinstance(m, BiremeError)]
        if faults:
            errors[number] = faults[0]
        emitted.append([] if faults else made)
    return emitted, errors


def compile_kernels(
    specs: Sequence[KernelSpec],
    target: Target,
    cache: KernelCache,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> list[list[CompiledKernel]]:
    """For each specification, its code for each of the target's levels.

    `jobs` is how many compile processes may run: None for one a core that this process may use, 0
    for none, which compiles in this process. Raises KernelFaults with the errors of all kernels.
    """
    levels = target.description.levels
    work = [
        _Job(spec, number, entry_key(spec.key, f"{target.name}/{level.name}"))
        for spec in specs
        for number, level in enumerate(levels)
    ]
    found = {job.key: known for job in work if (known := cache.get(job.key)) is not None}
    missing = list({job.key: job for job in work if job.key not in found}.values())
    total = len({job.key for job in work})
    if progress:
        progress(len(found), total)
    compiled = _here(missing, target) if jobs == 0 else _in_workers(missing, target, jobs)
    errors: dict[str, BiremeError] = {}
    with closing(compiled):
        for job, kernel in compiled:
            if isinstance(kernel, BiremeError):
                errors[job.key] = kernel
                continue
            found[job.key] = kernel
            cache.put(job.key, kernel)
            if progress:
                progress(len(found), total)
    keys = [job.key for job in work]
    if errors:
        faults = {i // len(levels): errors[key] for i, key in enumerate(keys) if key in errors}
        raise KernelFaults(faults)
    width = len(levels)
    return [[found[k] for k in keys[i : i + width]] for i in range(0, len(keys), width)]


_Results = Generator[tuple[_Job, CompiledKernel | BiremeError], None, None]


def _here(missing: Sequence[_Job], target: Target) -> _Results:
    for job in missing:
        yield job, attempt(target.compiler(), job.spec, target.description.levels[job.level])


def _in_workers(missing: Sequence[_Job], target: Target, jobs: int | None) -> _Results:
    """Compiles in as many processes as there are jobs for; they end with the generator."""
    count = min(jobs or len(os.sched_getaffinity(0)), len(missing))
    if not count:
        return
    workers = [_Worker() for _ in range(count)]
    idle: SimpleQueue[_Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def run(job: _Job) -> tuple[_Job, CompiledKernel | BiremeError]:
        worker = idle.get()
        try:
            return job, worker.compile(target, job)
        finally:
            idle.put(worker)

    executor = ThreadPoolExecutor(count)
    try:
        yield from executor.map(run, missing)
    finally:
        executor.shutdown(cancel_futures=True)
        for worker in workers:
            worker.close()
