"""The kernels of a model that can be tuned, what each costs in a run, and how it is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bireme.codegen.build import attempt
from bireme.codegen.kernel import Emitted
from bireme.codegen.lower import Lowered
from bireme.codegen.parameters import Choice, Space, Values
from bireme.codegen.plan import Instruction, Plan
from bireme.codegen.records import Database, KernelKey, key_of
from bireme.codegen.spec import KernelSpec
from bireme.codegen.tune.harness import Setting
from bireme.codegen.tune.measure import Measured
from bireme.codegen.tune.search import pinned, space_size
from bireme.ir import Array, evaluate
from bireme.targets.registry import Target

# Kernels that take less than this share of a run are left alone.
_LEAST_SHARE = 0.002


@dataclass(frozen=True)
class Task:
    """A kernel to tune.

    `number` is the kernel's in the plan. `first` are the values of the target's first level, of
    which this level has to take over the shared ones; empty where this is the first. `launch` is
    the time of one launch and `nanoseconds` that of all of a run. `weights` are the model's own
    arrays among the operands, by their number.
    """

    number: int
    spec: KernelSpec
    key: KernelKey
    level: int
    space: Space[Any]
    first: Values
    setting: Setting
    launch: float
    nanoseconds: float
    template: str
    ops: str
    weights: Mapping[int, Array]

    def choice(self, values: Values) -> Choice:
        """The choice that a kernel with these values is compiled with."""
        return Choice(values, values if self.level == 0 else self.first)


def kernel_times(plan: Plan, measured: Measured, artefact: int = 0) -> dict[int, Array]:
    """For each kernel of a plan, nanoseconds of all its launches in each round."""
    found: dict[int, Array] = {}
    times = measured.times[artefact]
    for number, instruction in enumerate(plan.instructions):
        if instruction.op == "Launch":
            known = found.get(instruction.kernel)
            column = times[:, number]
            found[instruction.kernel] = column if known is None else known + column
    return found


def median_times(plan: Plan, measured: Measured) -> dict[int, float]:
    """For each kernel of a plan, the median of what its launches take in a run, in nanoseconds."""
    return {number: float(np.median(t)) for number, t in kernel_times(plan, measured).items()}


def estimated_times(plan: Plan, sizes: Mapping[str, int]) -> dict[int, float]:
    """The same by the estimates in the plan, where nothing was measured."""
    found: dict[int, float] = {}
    for instruction in plan.instructions:
        if instruction.op == "Launch":
            cost = evaluate(instruction.cost, sizes)
            found[instruction.kernel] = found.get(instruction.kernel, 0.0) + cost
    return found


def tasks_of_model(
    lowered: Lowered,
    target: Target,
    level: int,
    times: Mapping[int, float],
    known: Database,
    sizes: Mapping[str, int],
) -> list[Task]:
    """The kernels worth tuning, by their number. `times` are nanoseconds that each takes in a run
    of the untuned artefact, `known` the records that other levels are compiled with, `sizes` those
    of the model's symbols.
    """
    plan, description = lowered.plan, target.description
    least = _LEAST_SHARE * sum(times.values())
    evicted = min(2 * description.l2_bytes, _touched(plan, sizes))
    found = []
    for number, spec in enumerate(lowered.specs):
        if times.get(number, 0.0) < least:
            continue
        first = known.choice(target, spec, level).first if level else {}
        emitted = attempt(target.emitter(), spec, description.levels[level], Choice({}, first))
        if not isinstance(emitted, Emitted) or emitted.chosen is None:
            continue
        space = pinned(emitted.chosen.space, first) if level else emitted.chosen.space
        if space_size(space) == 1:
            continue
        launches = [i for i in plan.instructions if i.op == "Launch" and i.kernel == number]
        largest = max(launches, key=lambda i: evaluate(i.cost, sizes))
        found.append(
            Task(
                number=number,
                spec=spec,
                key=key_of(spec, description.target, description.levels[level].name),
                level=level,
                space=space,
                first=first,
                setting=Setting(
                    tuple(evaluate(d, sizes) for d in largest.dims),
                    evaluate(largest.cost, sizes),
                    evicted,
                    _written_before(plan, largest),
                ),
                launch=times[number] / len(launches),
                nanoseconds=times[number],
                template=emitted.kind,
                ops=plan.sources[largest.source].op,
                weights=_weights(plan, largest),
            )
        )
    return found


def _weights(plan: Plan, launch: Instruction) -> dict[int, Array]:
    """Weights of the model among the operands of a launch, by their number."""
    operands = launch.args[: len(launch.args) - launch.results]
    return {n: plan.weights[t] for n, t in enumerate(operands) if t in plan.weights}


def _written_before(plan: Plan, launch: Instruction) -> frozenset[int]:
    """Operands of a launch that other kernels have written, by their number."""
    operands = launch.args[: len(launch.args) - launch.results]
    return frozenset(n for n, t in enumerate(operands) if plan.tensors[t].place == "Arena")


def _touched(plan: Plan, sizes: Mapping[str, int]) -> int:
    """About how many bytes a run touches: weights, and every tensor between kernels once."""
    arena = sum(evaluate(t.reserved, sizes) for t in plan.tensors if t.place == "Arena")
    return arena + sum(a.nbytes for a in plan.weights.values())


def best_hints(
    task: Task, known: Database, others: Sequence[tuple[KernelKey, Values]]
) -> list[Values]:
    """Where to start: what is known of this kernel, then of similar ones, the most similar first.

    `others` are kernels of this run and the best values found for them.
    """
    own = known.get(task.key)
    similar = [(r.key.distance(task.key), r.parameters) for r in known.similar(task.key)]
    similar += [
        (key.distance(task.key), values)
        for key, values in others
        if key.structure == task.key.structure and key != task.key
    ]
    ordered = [values for _, values in sorted(similar, key=lambda each: each[0])]
    return [own.parameters, *ordered] if own else ordered
