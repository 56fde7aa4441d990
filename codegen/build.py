"""Compiles the kernels of a model: from the cache where it can, in parallel where it must."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Timer
from typing import Any

from bireme.codegen.cache import CompiledKernel, KernelCache, entry_key
from bireme.codegen.kernel import Emitted
from bireme.codegen.parameters import NO_CHOICE, Choice
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
# What tuning records say of a specification on one of the levels, by its number.
Choices = Callable[[KernelSpec, int], Choice]


@dataclass(frozen=True)
class Job:
    """A kernel to compile for the level of that number, with the parameters that are chosen."""

    spec: KernelSpec
    level: int
    choice: Choice = NO_CHOICE

    def key(self, target: Target) -> str:
        """The key of its entry in the kernel cache."""
        name = target.description.levels[self.level].name
        return entry_key(self.spec.key, f"{target.name}/{name}", self.choice.key)


def attempt(
    generate: KernelFunction, spec: KernelSpec, level: InstructionSet, *choice: Choice
) -> Any:
    """What `generate` gives, or the error that it raises: BM3005 for what no check foresees."""
    try:
        return generate(spec, level, *choice)
    except BiremeError as error:
        return error
    except Exception as error:  # whatever TVM raises must reach the user with its kernel's name
        fault = BiremeError("BM3005", f"{type(error).__name__}: {error}"[-2000:])
        fault.__cause__ = error
        return fault


class _Worker:
    """One compile process; another takes its place when it crashes or is too slow."""

    def __init__(self) -> None:
        self._process = self._started()
        self._stopped = False

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "bireme.codegen.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for the process that asks, which then stops this one
        )

    def compile(
        self, target: Target, job: Job, seconds: float | None
    ) -> CompiledKernel | BiremeError:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        watchdog = Timer(seconds or 0.0, process.kill)
        if seconds is not None:
            watchdog.start()
        try:
            level = target.description.levels[job.level].name
            send(process.stdin, Request(target.name, level, job.spec, job.choice))
            answer = receive(process.stdout)
        except OSError:
            answer = None
        finally:
            watchdog.cancel()
        if isinstance(answer, CompiledKernel):
            return answer
        if isinstance(answer, Refusal):
            return BiremeError(answer.code, answer.detail, where=answer.where, hint=answer.hint)
        process.kill()
        process.communicate()
        if not self._stopped:
            self._process = self._started()
        why = f"crashed, or took more than {seconds} s," if seconds else "crashed"
        return BiremeError("BM3005", f"the compiler {why} on the kernel\n{job.spec.text}")

    def stop(self) -> None:
        """Ends the process, whatever it is doing."""
        self._stopped = True
        self._process.kill()

    def close(self) -> None:
        """Lets go of what a process that was stopped leaves behind."""
        self._process.communicate()


_Results = Iterator[tuple[Job, "CompiledKernel | BiremeError"]]


class Workers:
    """Compile processes, as many as there are jobs at once, and at most `limit`; closed with the
    `with` block. A `limit` of None means one for each core that this process may use, 0 none:
    kernels are then compiled in this process.
    """

    def __init__(self, target: Target, limit: int | None = None) -> None:
        self._target = target
        self._limit = len(os.sched_getaffinity(0)) if limit is None else limit
        self._all: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._executor = ThreadPoolExecutor(max(1, self._limit))

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.stop()
        self._executor.shutdown(cancel_futures=True)
        for worker in self._all:
            worker.close()

    def compile(self, jobs: Sequence[Job], seconds: float | None = None) -> _Results:
        """Each job with its kernel or error, in order. A kernel may take `seconds`, where given."""
        if self._limit == 0:
            return ((job, self._here(job)) for job in jobs)
        while len(self._all) < min(self._limit, len(jobs)):
            self._all.append(_Worker())
            self._idle.put(self._all[-1])
        return self._executor.map(lambda job: (job, self._there(job, seconds)), jobs)

    def _here(self, job: Job) -> CompiledKernel | BiremeError:
        level = self._target.description.levels[job.level]
        kernel: CompiledKernel | BiremeError = attempt(
            self._target.compiler(), job.spec, level, job.choice
        )
        return kernel

    def _there(self, job: Job, seconds: float | None) -> CompiledKernel | BiremeError:
        worker = self._idle.get()
        try:
            return worker.compile(self._target, job, seconds)
        finally:
            self._idle.put(worker)


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


def no_records(_spec: KernelSpec, _level: int) -> Choice:
    """The choices of whoever has no tuning records."""
    return NO_CHOICE


def compile_kernels(
    specs: Sequence[KernelSpec],
    target: Target,
    cache: KernelCache,
    *,
    jobs: int | None = None,
    choices: Choices = no_records,
    progress: Progress | None = None,
) -> list[list[CompiledKernel]]:
    """For each specification, its code for each of the target's levels.

    `jobs` is the limit of `Workers`, `choices` gives parameters of kernels. Raises KernelFaults
    with the errors of all kernels.
    """
    levels = range(len(target.description.levels))
    work = [Job(spec, level, choices(spec, level)) for spec in specs for level in levels]
    keys = [job.key(target) for job in work]
    by_key = dict(zip(keys, work, strict=True))
    found = {key: known for key in by_key if (known := cache.get(key)) is not None}
    missing = [key for key in by_key if key not in found]
    if progress:
        progress(len(found), len(by_key))
    errors: dict[str, BiremeError] = {}
    with Workers(target, jobs) as workers:
        compiled = workers.compile([by_key[key] for key in missing])
        for key, (_, kernel) in zip(missing, compiled, strict=True):
            if isinstance(kernel, BiremeError):
                errors[key] = kernel
                continue
            found[key] = kernel
            cache.put(key, kernel)
            if progress:
                progress(len(found), len(by_key))
    if errors:
        raise KernelFaults({i // len(levels): errors[k] for i, k in enumerate(keys) if k in errors})
    width = len(levels)
    return [[found[k] for k in keys[i : i + width]] for i in range(0, len(keys), width)]
