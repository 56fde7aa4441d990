"""Variants of a kernel: candidates compiled, and artefacts that launch them beside the default."""

from __future__ import annotations

from collections.abc import Sequence

from bireme.codegen.build import Job, Workers
from bireme.codegen.cache import CompiledKernel, KernelCache
from bireme.codegen.parameters import Values
from bireme.codegen.tune.case import Case, case_of
from bireme.codegen.tune.harness import harness
from bireme.codegen.tune.search import Point, point
from bireme.codegen.tune.tasks import Task
from bireme.ir import BiremeError
from bireme.targets.registry import Target

# Seconds that a candidate may take to compile: a larger kernel is not worth it.
_COMPILE_SECONDS = 8.0

# A candidate, or why it is none.
Compiled = tuple[Values, CompiledKernel | BiremeError]


class Variants:
    """Compiles candidates, and keeps what is needed again: defaults, bests, operands. Every kernel
    goes through `cache`, so that what a run had compiled when it was killed is not lost.
    """

    def __init__(
        self, target: Target, workers: Workers, seed: int, cache: KernelCache | None = None
    ) -> None:
        self._target, self._workers, self._seed = target, workers, seed
        self._cache = cache or KernelCache(None)
        self._kept: dict[tuple[int, Point], CompiledKernel] = {}
        self._cases: dict[int, Case] = {}

    def kept(self, task: Task, values: Values) -> CompiledKernel:
        """A kernel that must compile: the default, with no values, or a best. Raises BiremeError
        where it does not.
        """
        key = task.number, point(values)
        if key not in self._kept:
            ((_, kernel),) = self._compile(task, [values], None)
            if isinstance(kernel, BiremeError):
                raise kernel
            self._kept[key] = kernel
        return self._kept[key]

    def keep(self, task: Task, values: Values, kernel: CompiledKernel) -> None:
        """Keeps a kernel that will be asked for again."""
        self._kept[task.number, point(values)] = kernel

    def compiled(
        self, task: Task, candidates: Sequence[Values]
    ) -> tuple[list[Compiled], list[Values]]:
        """The candidates that differ from the default, or are at fault, and those that are the
        same code. Raises BiremeError where the default does not compile.
        """
        default = self.kept(task, {})
        found: list[Compiled] = []
        same: list[Values] = []
        for values, kernel in self._compile(task, candidates, _COMPILE_SECONDS):
            if isinstance(kernel, CompiledKernel) and _launched_alike(kernel, default):
                same.append(values)
            else:
                found.append((values, kernel))
        return found, same

    def case(self, task: Task) -> Case:
        """Operands of a kernel and its results by the reference. Raises BM6003 where there are
        none.
        """
        if task.number not in self._cases:
            self._cases[task.number] = case_of(
                task.spec, task.setting.sizes, task.weights, self._seed
            )
        return self._cases[task.number]

    def artefact(self, task: Task, kernels: Sequence[CompiledKernel]) -> bytes:
        """Launches kernels between two launches of the default. Raises BM6003 as `case` does."""
        default, description = self.kept(task, {}), self._target.description
        return harness(
            task.spec,
            [default, *kernels, default],
            description.target,
            description.levels[task.level],
            task.setting,
            self.case(task),
        )

    def level(self, task: Task) -> str:
        """Name of the instruction set that a kernel is compiled for."""
        return self._target.description.levels[task.level].name

    def _compile(
        self, task: Task, candidates: Sequence[Values], seconds: float | None
    ) -> list[Compiled]:
        jobs = [Job(task.spec, task.level, task.choice(values)) for values in candidates]
        keys = [job.key(self._target) for job in jobs]
        known: dict[str, CompiledKernel | BiremeError] = {}
        for key in keys:
            kernel = self._cache.get(key)
            if kernel is not None:
                known[key] = kernel
        missing = [n for n, key in enumerate(keys) if key not in known]
        compiled = self._workers.compile([jobs[n] for n in missing], seconds)
        for number, (_, made) in zip(missing, compiled, strict=True):
            known[keys[number]] = made
            if isinstance(made, CompiledKernel):
                self._cache.put(keys[number], made)
        return [(values, known[key]) for values, key in zip(candidates, keys, strict=True)]


def _launched_alike(a: CompiledKernel, b: CompiledKernel) -> bool:
    return a.code == b.code and a.tasks == b.tasks
