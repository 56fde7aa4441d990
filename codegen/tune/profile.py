"""A model before it is tuned: compiled as it is, and where its time goes on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from bireme.codegen.compiler import Options, compile_graph, prepare
from bireme.codegen.lower import Lowered
from bireme.codegen.records import Database
from bireme.codegen.tune.measure import Measure
from bireme.codegen.tune.runner import Runner
from bireme.codegen.tune.tasks import Task, median_times, tasks_of_model
from bireme.ir import BiremeError, Graph
from bireme.targets.registry import Target

# Rounds that a whole model is measured with, and about how many seconds.
_LEAST_ROUNDS, _MOST_ROUNDS, _SECONDS = 8, 400, 3.0


@dataclass(frozen=True)
class Wish:
    """How to tune.

    `seconds` is the budget, `level` the instruction set, None for the best that the device has.
    `sizes` are those of the model's symbols; where it lacks one, its hint. `seed` decides which
    candidates are tried and on what data. `options` is how the model will be compiled; records and
    sizes to specialize for play no part.
    """

    seconds: float
    level: str | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    options: Options = field(default_factory=Options)

    def compiled_with(self, records: Database) -> Options:
        """How to compile the model with some records."""
        return replace(self.options, records=records, specialize=())


@dataclass(frozen=True)
class Profile:
    """The model as it is. `base` has the records that do not concern the level which is tuned,
    `request` how the model is measured; `nanoseconds` is the time of a run.
    """

    lowered: Lowered
    artefact: bytes
    base: Database
    level: str
    request: Measure
    nanoseconds: float
    tasks: tuple[Task, ...]

    def options(self, wish: Wish, records: Database) -> Options:
        """How to compile the model with records besides those of other levels."""
        merged = Database(self.base)
        merged.update(records)
        return wish.compiled_with(merged)


def profile(graph: Graph, target: Target, wish: Wish, known: Database, runner: Runner) -> Profile:
    """Compiles a graph without records of the level to tune, and measures it on the device.

    Raises BiremeError, BM6006 if the device cannot run it.
    """
    names = level_names(target, wish)
    lowered, _ = prepare(graph, target, wish.options)
    sizes = typical_sizes(lowered, wish)
    level = wish.level or names[0]
    while True:
        base = Database(record for record in known if record.key.level != level)
        artefact, _ = compile_graph(graph, target, wish.compiled_with(base))
        request = Measure(
            (), (), _SECONDS, _LEAST_ROUNDS, _MOST_ROUNDS, wish.seed, sizes, isa=wish.level
        )
        measured = runner.measure([artefact], request, _SECONDS)
        if measured.isa == level:
            break
        level = measured.isa  # the device has not all levels
    times = median_times(lowered.plan, measured)
    return Profile(
        lowered=lowered,
        artefact=artefact,
        base=base,
        level=level,
        request=replace(request, isa=level),
        nanoseconds=float(np.median(measured.times[0].sum(axis=1))),
        tasks=tuple(tasks_of_model(lowered, target, names.index(level), times, base, sizes)),
    )


def level_names(target: Target, wish: Wish) -> list[str]:
    """Names of a target's levels. Raises BM6002 where the wished one is none of them."""
    names = [level.name for level in target.description.levels]
    if wish.level is not None and wish.level not in names:
        detail = f"{target.name} has {', '.join(names)}; found {wish.level!r}"
        raise BiremeError("BM6002", detail, where="level")
    return names


def typical_sizes(lowered: Lowered, wish: Wish) -> dict[str, int]:
    """Sizes of the model's symbols: the wished ones, else their hints."""
    hints = {name: limits.typical for name, limits in lowered.plan.symbols.items()}
    return {**hints, **{n: s for n, s in wish.sizes.items() if n in hints}}
