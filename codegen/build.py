"""Compiles the kernels of a model: from the cache where it can, in parallel where it must."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from queue import SimpleQueue

from bireme.codegen.cache import CompiledKernel, KernelCache, entry_key
from bireme.codegen.spec import KernelSpec
from bireme.codegen.wire import Refusal, Request, receive, send
from bireme.ir import BiremeError
from bireme.targets.registry import Target

# (kernels done, kernels in all)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Job:
    spec: KernelSpec
    level: int
    key: str


class _Worker:
    """One compile process."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "bireme.codegen.worker"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def compile(self, target: Target, job: _Job) -> CompiledKernel:
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
            where = job.spec.node or answer.where
            raise BiremeError(answer.code, answer.detail, where=where, hint=answer.hint)
        detail = f"the compiler crashed on the kernel\n{job.spec.text}"
        raise BiremeError("BM3005", detail, where=job.spec.node)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


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
    for none, which compiles in this process. Raises the first kernel's BM3004 or BM3005.
    """
    levels = target.description.levels
    work = [
        _Job(spec, number, entry_key(spec.key, f"{target.name}/{level.name}"))
        for spec in specs
        for number, level in enumerate(levels)
    ]
    found = {job.key: kernel for job in work if (kernel := cache.get(job.key)) is not None}
    missing = list({job.key: job for job in work if job.key not in found}.values())
    total = len({job.key for job in work})
    if progress:
        progress(len(found), total)
    compiled = _here(missing, target) if jobs == 0 else _in_workers(missing, target, jobs)
    with closing(compiled):
        for job, kernel in compiled:
            found[job.key] = kernel
            cache.put(job.key, kernel)
            if progress:
                progress(len(found), total)
    keys = [job.key for job in work]
    width = len(levels)
    return [[found[k] for k in keys[i : i + width]] for i in range(0, len(keys), width)]


_Results = Generator[tuple[_Job, CompiledKernel], None, None]


def _here(missing: Sequence[_Job], target: Target) -> _Results:
    for job in missing:
        yield job, target.compiler()(job.spec, target.description.levels[job.level])


def _in_workers(missing: Sequence[_Job], target: Target, jobs: int | None) -> _Results:
    """Compiles in as many processes as there are jobs for; they end with the generator."""
    count = min(jobs or len(os.sched_getaffinity(0)), len(missing))
    if not count:
        return
    workers = [_Worker() for _ in range(count)]
    idle: SimpleQueue[_Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def run(job: _Job) -> tuple[_Job, CompiledKernel]:
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
