"""A batch of candidates of one kernel: compiled, measured side by side with the default, judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bireme.codegen.build import Job, Workers
from bireme.codegen.cache import CompiledKernel
from bireme.codegen.parameters import Values
from bireme.codegen.tune.harness import VARIANT, harness, output_name
from bireme.codegen.tune.journal import Trial
from bireme.codegen.tune.measure import Measure, Measured
from bireme.codegen.tune.noise import Ratio, ratio
from bireme.codegen.tune.runner import MeasureFault, Runner
from bireme.codegen.tune.search import Point, point
from bireme.codegen.tune.tasks import Task
from bireme.ir import Array, BiremeError
from bireme.targets.registry import Target

# Seconds that a candidate may take to compile: a larger kernel is not worth it.
_COMPILE_SECONDS = 8.0
# Rounds of a measurement, and about how many seconds it takes if the least rounds leave time.
_LEAST_ROUNDS, _MOST_ROUNDS, _SECONDS = 5, 60, 1.0
# Seconds that the least rounds of a batch may take, and its most candidates.
_BATCH_SECONDS, _MOST_CANDIDATES = 2.5, 8


@dataclass(frozen=True)
class Best:
    """Values of a kernel, empty for the default's, and their time over the default's."""

    values: Values
    ratio: float = 1.0


@dataclass(frozen=True)
class _Verdict:
    """What became of a variant; `time` is its time over the default's where the outcome is `ok`."""

    outcome: str
    time: Ratio = Ratio(1.0, 0.0)  # noqa: RUF009
    detail: str = ""

    def trial(self, kernel: int, values: Values) -> Trial:
        return Trial(kernel, values, self.outcome, self.time.value, self.detail)


_SAME = _Verdict("ok")


def batch_size(task: Task) -> int:
    """How many candidates fit in a batch: little is lost when a run is killed."""
    seconds = _LEAST_ROUNDS * task.launch / 1e9
    return int(max(1, min(_MOST_CANDIDATES, _BATCH_SECONDS / max(seconds, 1e-9) - 2)))


class Bench:
    """Compiles candidates and has them measured."""

    def __init__(self, target: Target, runner: Runner, workers: Workers, seed: int) -> None:
        self._target, self._runner, self._workers, self._seed = target, runner, workers, seed
        self._kept: dict[tuple[int, Point], CompiledKernel] = {}  # defaults and bests

    def try_all(
        self, task: Task, candidates: Sequence[Values], best: Best
    ) -> tuple[list[Trial], Best]:
        """The trials of a kernel's candidates, and the best afterwards.

        A candidate becomes the best when it is faster than the default beyond the noise, and not
        slower than the best, in two measurements: that it did well among many may be luck. Raises
        BiremeError where the default does not compile.
        """
        self._keep(task, [{}, best.values])
        default = self._kept[task.number, ()]
        trials: list[Trial] = []
        variants: list[tuple[Values, CompiledKernel]] = []
        for values, kernel in self._compiled(task, candidates, _COMPILE_SECONDS):
            if isinstance(kernel, BiremeError):
                trials.append(_Verdict("failed", detail=str(kernel)).trial(task.number, values))
            elif _launched_alike(kernel, default):
                trials.append(_SAME.trial(task.number, values))
            else:
                variants.append((values, kernel))
        verdicts = self._judge(task, [kernel for _, kernel in variants])
        for (values, _), verdict in zip(variants, verdicts, strict=True):
            trials.append(verdict.trial(task.number, values))
        faster = [n for n, v in enumerate(verdicts) if v.outcome == "ok" and v.time.is_faster]
        if not faster:
            return trials, best
        winner = min(faster, key=lambda n: verdicts[n].time.value)
        if verdicts[winner].time.value >= best.ratio:
            return trials, best
        return trials, self._confirmed(task, *variants[winner], best)

    def _confirmed(self, task: Task, values: Values, kernel: CompiledKernel, best: Best) -> Best:
        """The better of the best and a candidate that has beaten it once."""
        known = self._kept[task.number, point(best.values)]
        old, new = self._judge(task, [known, kernel])
        if new.outcome != "ok" or not new.time.is_faster:
            return best
        if best.values and old.outcome == "ok" and old.time.value <= new.time.value:
            return best
        self._kept[task.number, point(values)] = kernel
        return Best(values, new.time.value)

    # --- compiling --------------------------------------------------------------------------------

    def _keep(self, task: Task, wanted: Sequence[Values]) -> None:
        missing = [v for v in wanted if (task.number, point(v)) not in self._kept]
        for values, kernel in self._compiled(task, missing, None):
            if isinstance(kernel, BiremeError):
                raise kernel
            self._kept[task.number, point(values)] = kernel

    def _compiled(
        self, task: Task, candidates: Sequence[Values], seconds: float | None
    ) -> list[tuple[Values, CompiledKernel | BiremeError]]:
        jobs = [Job(task.spec, task.level, task.choice(values)) for values in candidates]
        kernels = [kernel for _, kernel in self._workers.compile(jobs, seconds)]
        return list(zip(candidates, kernels, strict=True))

    # --- measuring --------------------------------------------------------------------------------

    def _judge(self, task: Task, kernels: Sequence[CompiledKernel]) -> list[_Verdict]:
        """A verdict on each kernel; those that break the measurement are found one by one."""
        if not kernels:
            return []
        try:
            return self._side_by_side(task, kernels)
        except MeasureFault as fault:
            if len(kernels) == 1:
                return [_Verdict("failed", detail=str(fault))]
        return [verdict for kernel in kernels for verdict in self._judge(task, [kernel])]

    def _side_by_side(self, task: Task, kernels: Sequence[CompiledKernel]) -> list[_Verdict]:
        """Measures kernels between two launches of the default. Raises MeasureFault."""
        default, description = self._kept[task.number, ()], self._target.description
        variants = [default, *kernels, default]
        level = description.levels[task.level]
        data = harness(task.spec, variants, description.target, level, task.setting)
        results = range(len(task.spec.graph().outputs))
        pairs = tuple(
            ((0, output_name(0, result)), (0, output_name(number, result)))
            for number in range(1, len(variants))
            for result in results
        )
        request = Measure(
            (), (), _SECONDS, _LEAST_ROUNDS, _MOST_ROUNDS, self._seed, isa=level.name, pairs=pairs
        )
        expected = _SECONDS + 2 * (_LEAST_ROUNDS + 2) * len(variants) * task.launch / 1e9
        measured = self._runner.measure([data], request, expected)
        first, *times, last = _variant_times(measured, len(variants))
        wrong = np.array(measured.wrong).reshape(len(variants) - 1, -1).sum(axis=1)
        return [
            _Verdict("ok", ratio(each, (first + last) / 2))
            if not count
            else _Verdict("wrong", detail=f"{count} elements differ beyond the tolerance")
            for each, count in zip(times, wrong[:-1], strict=True)
        ]


def _launched_alike(a: CompiledKernel, b: CompiledKernel) -> bool:
    return a.code == b.code and a.tasks == b.tasks


def _variant_times(measured: Measured, count: int) -> list[Array]:
    """Nanoseconds of each variant in each round."""
    columns = {op: number for number, op in enumerate(measured.ops[0])}
    return [measured.times[0][:, columns[f"{VARIANT}{number}"]] for number in range(count)]
