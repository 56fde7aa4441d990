"""The tuner: from a model and some minutes to records that make it faster (docs/tuning.md).

    profile the model → again and again: the kernel with most to save gets a batch of candidates
    → keep what makes the whole model faster

Everything that is measured goes through a `Runner`, so another device is another runner.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from bireme.codegen.build import Workers
from bireme.codegen.cache import compiler_fingerprint
from bireme.codegen.records import Database, read_database, shipped
from bireme.codegen.tune.batch import Bench, batch_size
from bireme.codegen.tune.journal import Batch, Dropped, Journal, Trial
from bireme.codegen.tune.profile import Profile, Wish, profile
from bireme.codegen.tune.runner import Runner
from bireme.codegen.tune.state import State, counts
from bireme.codegen.tune.tasks import Task
from bireme.codegen.tune.variants import Variants
from bireme.codegen.tune.verify import Verified, verify
from bireme.ir import Graph
from bireme.targets.registry import Target

# The share of the budget, and the most seconds, that are kept for the last measurement.
_LAST_SHARE, _LAST_SECONDS = 0.15, 30.0


@dataclass(frozen=True)
class Status:
    """Where a run is, in seconds. Times are nanoseconds of a run of the model: untuned, and with
    the best parameters so far; `left` is what the tuner hopes to take off that yet.
    """

    what: str
    spent: float
    budget: float
    untuned: float = 0.0
    best: float = 0.0
    left: float = 0.0
    trials: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a run found: `verified` of the whole model, all candidates tried, what the kernels do
    by their number, seconds spent. `resumed` counts the batches of the run that this one goes on
    with.
    """

    level: str
    verified: Verified
    trials: Sequence[Trial]
    kernels: Mapping[int, str]
    seconds: float
    resumed: int

    @property
    def rejected(self) -> list[Trial]:
        """Candidates that failed, or gave other results than the default."""
        return [trial for trial in self.trials if trial.outcome != "ok"]


Watch = Callable[[Status], None]


def tune(
    graph: Graph,
    target: Target,
    wish: Wish,
    database: Path,
    runner: Runner,
    *,
    watch: Watch = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Tunes a model and adds the records that make it faster to the file `database`.

    Once `stopped` says so, the search ends and what was found is kept. A run that was killed goes
    on when `tune` is called again. Raises BiremeError: BM3006 before anything is measured when the
    database cannot be written to, BM6006 when the device does not run the model.
    """
    begin = monotonic()
    known = read_database(database) if database.exists() else Database()
    known.write(database)
    watch(Status("compiling and measuring the model as it is", 0.0, wish.seconds))
    found = profile(graph, target, wish, known, runner)
    hints = Database(shipped(target))
    hints.update(known)
    state = State({task.number: task for task in found.tasks}, hints, wish.seed)
    journal = Journal(_journal_path(database), _identity(found, target, wish, runner))
    earlier = journal.read()
    for event in earlier:
        state.apply(event)
        if isinstance(event, Dropped) and event.kernel in state.tasks:
            known.discard(state.tasks[event.kernel].key)
    journal.start(earlier)
    begin -= state.spent
    limit = wish.seconds - min(_LAST_SECONDS, _LAST_SHARE * wish.seconds)
    with Workers(target, wish.options.jobs) as workers:
        variants = Variants(target, workers, wish.seed, wish.options.cache)
        bench = Bench(variants, runner, wish.seed)
        while monotonic() - begin < limit and not stopped():
            task = state.next_task()
            if task is None:
                break
            watch(_status(found, state, f"{task.template} {task.ops}", begin, wish))
            batch = _batch(state, task, bench, begin)
            state.apply(batch)
            journal.add(batch)
    watch(_status(found, state, "measuring the model with what was found", begin, wish))
    records = state.records(runner.threads, runner.cpu)
    verified = verify(graph, target, wish, found, records, runner, journal.add)
    for record in verified.dropped:
        known.discard(record.key)
    known.update(Database(verified.kept))
    known.write(database)
    journal.remove()
    names = {number: task.ops for number, task in state.tasks.items()}
    seconds = monotonic() - begin
    resumed = sum(isinstance(event, Batch) for event in earlier)
    return Outcome(found.level, verified, state.trials, names, seconds, resumed)


def _batch(state: State, task: Task, bench: Bench, begin: float) -> Batch:
    count = batch_size(task)
    candidates = state.candidates(task, count)
    trials, best = bench.try_all(task, candidates, state.best(task))
    return Batch(
        kernel=task.number,
        trials=tuple(trials),
        best=best.values,
        ratio=best.ratio,
        exhausted=len(candidates) < count,
        spent=monotonic() - begin,
    )


def _status(found: Profile, state: State, what: str, begin: float, wish: Wish) -> Status:
    number = counts(state.trials)
    return Status(
        what=what,
        spent=monotonic() - begin,
        budget=wish.seconds,
        untuned=found.nanoseconds,
        best=found.nanoseconds - state.saved,
        left=state.hoped,
        trials=len(state.trials),
        rejected=number["wrong"] + number["failed"],
    )


def _journal_path(database: Path) -> Path:
    return database.with_name(f"{database.name}.journal")


def _identity(found: Profile, target: Target, wish: Wish, runner: Runner) -> str:
    """Digest of what a run's results depend on."""
    parts = [
        compiler_fingerprint(),
        target.name,
        found.level,
        runner.cpu,
        str(runner.threads),
        str(wish.seed),
        str(sorted(found.request.sizes.items()) if found.request.sizes else ""),
        *(spec.key for spec in found.lowered.specs),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
