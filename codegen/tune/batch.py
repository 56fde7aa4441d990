"""A batch of candidates of one kernel: compiled, measured side by side with the default, judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bireme.codegen.cache import CompiledKernel
from bireme.codegen.parameters import Values
from bireme.codegen.tune.harness import VARIANT, expected_name, output_name
from bireme.codegen.tune.journal import Trial
from bireme.codegen.tune.measure import WARM_UP, Measure, Measured
from bireme.codegen.tune.noise import Ratio, ratio
from bireme.codegen.tune.runner import MeasureFault, Runner
from bireme.codegen.tune.tasks import Task
from bireme.codegen.tune.variants import Variants
from bireme.ir import Array, BiremeError

# Rounds of a measurement, and about how many seconds it takes if the least rounds leave time.
LEAST_ROUNDS, MOST_ROUNDS, SECONDS = 5, 60, 1.0
# Seconds that the least rounds of a batch may take, and its most candidates.
_BATCH_SECONDS, _MOST_CANDIDATES = 2.5, 8


@dataclass(frozen=True)
class Best:
    """Values of a kernel, empty for the default's, and their time over the default's."""

    values: Values
    ratio: float = 1.0


@dataclass(frozen=True)
class Verdict:
    """What became of a variant; `time` is its time over the default's where the outcome is `ok`."""

    outcome: str
    time: Ratio = Ratio(1.0, 0.0)  # noqa: RUF009
    detail: str = ""

    def trial(self, kernel: int, values: Values) -> Trial:
        """The verdict on a kernel's candidate as the journal has it."""
        return Trial(kernel, values, self.outcome, self.time.value, self.detail)


_SAME = Verdict("ok")


def batch_size(task: Task) -> int:
    """How many candidates fit in a batch: little is lost when a run is killed."""
    seconds = LEAST_ROUNDS * task.launch / 1e9
    return int(max(1, min(_MOST_CANDIDATES, _BATCH_SECONDS / max(seconds, 1e-9) - 2)))


def longest_loss(task: Task) -> float:
    """About how many seconds of measuring a kill can lose: a batch and its confirmation."""
    variants = [batch_size(task) + 2, 2 + 2]
    rounds = [(LEAST_ROUNDS + WARM_UP) * count * task.launch / 1e9 for count in variants]
    return sum(max(SECONDS, each) for each in rounds)


def verdicts_on(times: Array, wrong: Sequence[int]) -> list[Verdict]:
    """Verdicts on variants of which the first and the last are the default. `times` are
    nanoseconds of rounds × variants, `wrong` counts each one's elements beyond the tolerance.
    """
    first, *each, last = np.asarray(times, np.float64).T
    if wrong[0]:
        detail = f"the default differs from the reference in {wrong[0]} elements"
        return [Verdict("wrong", detail=detail)] * len(each)
    return [
        Verdict("ok", ratio(own, (first + last) / 2))
        if not count
        else Verdict("wrong", detail=f"{count} elements differ from the reference")
        for own, count in zip(each, wrong[1:-1], strict=True)
    ]


class Bench:
    """Has candidates measured."""

    def __init__(self, variants: Variants, runner: Runner, seed: int) -> None:
        self._variants, self._runner, self._seed = variants, runner, seed

    def try_all(
        self, task: Task, candidates: Sequence[Values], best: Best
    ) -> tuple[list[Trial], Best]:
        """The trials of a kernel's candidates, and the best afterwards.

        A candidate becomes the best when it is faster than the default beyond the noise, and not
        slower than the best, in two measurements: that it did well among many may be luck. Raises
        BiremeError where the default does not compile.
        """
        compiled, same = self._variants.compiled(task, candidates)
        trials = [_SAME.trial(task.number, values) for values in same]
        measured: list[tuple[Values, CompiledKernel]] = []
        for values, kernel in compiled:
            if isinstance(kernel, BiremeError):
                trials.append(Verdict("failed", detail=str(kernel)).trial(task.number, values))
            else:
                measured.append((values, kernel))
        verdicts = self._judge(task, [kernel for _, kernel in measured])
        for (values, _), verdict in zip(measured, verdicts, strict=True):
            trials.append(verdict.trial(task.number, values))
        faster = [n for n, v in enumerate(verdicts) if v.outcome == "ok" and v.time.is_faster]
        if not faster:
            return trials, best
        winner = min(faster, key=lambda n: verdicts[n].time.value)
        if verdicts[winner].time.value >= best.ratio:
            return trials, best
        return trials, self._confirmed(task, *measured[winner], best)

    def _confirmed(self, task: Task, values: Values, kernel: CompiledKernel, best: Best) -> Best:
        """The better of the best and a candidate that has beaten it once."""
        old, new = self._judge(task, [self._variants.kept(task, best.values), kernel])
        if new.outcome != "ok" or not new.time.is_faster:
            return best
        if best.values and old.outcome == "ok" and old.time.value <= new.time.value:
            return best
        self._variants.keep(task, values, kernel)
        return Best(values, new.time.value)

    def _judge(self, task: Task, kernels: Sequence[CompiledKernel]) -> list[Verdict]:
        """A verdict on each kernel; those that break the measurement are found one by one."""
        if not kernels:
            return []
        try:
            artefact = self._variants.artefact(task, kernels)
        except BiremeError as error:  # data that these operands must not be
            return [Verdict("failed", detail=f"no reference: {error}")] * len(kernels)
        try:
            return self._side_by_side(task, artefact, len(kernels) + 2)
        except MeasureFault as fault:
            if len(kernels) == 1:
                return [Verdict("failed", detail=str(fault))]
        return [verdict for kernel in kernels for verdict in self._judge(task, [kernel])]

    def _side_by_side(self, task: Task, artefact: bytes, count: int) -> list[Verdict]:
        """Verdicts on the `count` variants of an artefact but the defaults. Raises MeasureFault."""
        results = range(len(self._variants.case(task).expected))
        pairs = tuple(
            ((0, expected_name(result)), (0, output_name(number, result)))
            for number in range(count)
            for result in results
        )
        level = self._variants.level(task)
        request = Measure(
            (), (), SECONDS, LEAST_ROUNDS, MOST_ROUNDS, self._seed, isa=level, pairs=pairs
        )
        expected = SECONDS + 2 * (LEAST_ROUNDS + 2) * count * task.launch / 1e9
        measured = self._runner.measure([artefact], request, expected)
        wrong = np.array(measured.wrong).reshape(count, -1).sum(axis=1)
        return verdicts_on(_variant_times(measured, count), wrong.tolist())


def _variant_times(measured: Measured, count: int) -> Array:
    """Nanoseconds of rounds × variants."""
    columns = {op: number for number, op in enumerate(measured.ops[0])}
    return measured.times[0][:, [columns[f"{VARIANT}{number}"] for number in range(count)]]
