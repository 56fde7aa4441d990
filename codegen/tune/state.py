"""What a run of the tuner knows: a fold over the batches that were measured.

A run that goes on where another was killed applies that one's batches and is then where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bireme.codegen.parameters import Values
from bireme.codegen.records import Database, Record
from bireme.codegen.tune.batch import Best
from bireme.codegen.tune.journal import Batch, Dropped, Event, Trial
from bireme.codegen.tune.scheduler import Prospect, next_kernel
from bireme.codegen.tune.search import Point, point, propose
from bireme.codegen.tune.tasks import Task, best_hints


@dataclass
class State:
    """`hints` are records to start from; they need not be of these kernels."""

    tasks: dict[int, Task]
    hints: Database
    seed: int
    trials: list[Trial] = field(default_factory=list)
    spent: float = 0.0
    _best: dict[int, Best] = field(default_factory=dict)
    _tried: dict[int, set[Point]] = field(default_factory=dict)
    _prospects: dict[int, Prospect] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, task in self.tasks.items():
            self._best[number], self._tried[number] = Best({}), set()
            self._prospects[number] = Prospect(task.nanoseconds)

    def apply(self, event: Event) -> None:
        """Takes over what happened. What concerns a kernel that is no longer tuned says nothing."""
        match event:
            case Batch():
                self._apply(event)
            case Dropped(kernel, parameters):
                if kernel in self.tasks and point(self._best[kernel].values) == point(parameters):
                    self._best[kernel] = Best({})

    def _apply(self, batch: Batch) -> None:
        self.spent = batch.spent
        if batch.kernel not in self.tasks:
            return
        before = self._best[batch.kernel].ratio
        self.trials += batch.trials
        self._tried[batch.kernel].update(point(trial.parameters) for trial in batch.trials)
        self._best[batch.kernel] = Best(batch.best, batch.ratio)
        prospect = self._prospects[batch.kernel].after(max(0.0, 1 - batch.ratio / before))
        self._prospects[batch.kernel] = prospect.exhausted() if batch.exhausted else prospect

    def next_task(self) -> Task | None:
        """The kernel to go on with; None where nothing is left to try."""
        number = next_kernel(self._prospects)
        return None if number is None else self.tasks[number]

    def best(self, task: Task) -> Best:
        """The best that is known of a kernel."""
        return self._best[task.number]

    def candidates(self, task: Task, count: int) -> list[Values]:
        """What to try next of a kernel."""
        others = [
            (self.tasks[number].key, best.values)
            for number, best in self._best.items()
            if best.values
        ]
        hints = best_hints(task, self.hints, others)
        tried, seed = self._tried[task.number], f"{self.seed}/{task.key}"
        return propose(task.space, self.best(task).values, hints, tried, count, seed)

    @property
    def saved(self) -> float:
        """Nanoseconds that the best parameters so far should take off a run."""
        return sum(t.nanoseconds * (1 - self._best[n].ratio) for n, t in self.tasks.items())

    @property
    def hoped(self) -> float:
        """Nanoseconds that may yet be saved."""
        return sum(prospect.saving for prospect in self._prospects.values())

    def records(self, threads: int, cpu: str) -> dict[int, Record]:
        """A record for every kernel with parameters that are better than the default's."""
        return {
            number: Record(
                task.key,
                task.ops,
                task.template,
                self._best[number].values,
                1 / self._best[number].ratio,
                threads,
                cpu,
            )
            for number, task in self.tasks.items()
            if self._best[number].values
        }


def counts(trials: Sequence[Trial]) -> dict[str, int]:
    """How many candidates had each outcome."""
    return {name: sum(t.outcome == name for t in trials) for name in ("ok", "wrong", "failed")}
