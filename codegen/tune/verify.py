"""The last word on records: what they make of the whole model, beside the same without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from bireme.codegen.compiler import compile_graph
from bireme.codegen.records import Database, Record
from bireme.codegen.tune.journal import Dropped
from bireme.codegen.tune.noise import Ratio, ratio
from bireme.codegen.tune.profile import Profile, Wish
from bireme.codegen.tune.runner import Runner
from bireme.codegen.tune.tasks import kernel_times
from bireme.ir import Graph
from bireme.targets.registry import Target

# How often records are dropped and the rest measured again, before none is kept.
_ATTEMPTS = 5


@dataclass(frozen=True)
class Verified:
    """Records that make the model faster, those that do not, and times of a run in nanoseconds:
    without records, and the ratio of that with those kept. `differs` says that the model's outputs
    did.
    """

    kept: tuple[Record, ...]
    dropped: tuple[Record, ...]
    nanoseconds: float
    time: Ratio
    differs: bool = False


def verify(
    graph: Graph,
    target: Target,
    wish: Wish,
    profile: Profile,
    found: Mapping[int, Record],
    runner: Runner,
    tell: Callable[[Dropped], None] = lambda _: None,
) -> Verified:
    """Keeps of the records of kernels, by their number in the plan, those that make their kernel
    faster inside of the model; none, if the model is not faster with them. `tell` hears of each
    that is left out before anything is measured again. Raises BM6006.
    """
    plan = profile.lowered.plan
    kept = dict(found)
    dropped: list[Record] = []
    # Integers, such as the index of the largest score, may change when a float does by an ulp.
    shown = [t.name for t in (plan.tensors[n] for n in plan.outputs) if t.dtype.is_float]
    request = replace(profile.request, pairs=tuple(((0, n), (1, n)) for n in shown), whole=True)
    nanoseconds, time = profile.nanoseconds, Ratio(1.0, 0.0)
    for _ in range(_ATTEMPTS):
        if not kept:
            break
        options = profile.options(wish, Database(kept.values()))
        data, _ = compile_graph(graph, target, options)
        measured = runner.measure([profile.artefact, data], request, 2 * request.seconds)
        totals = [times.sum(axis=1) for times in measured.times]
        nanoseconds, time = float(np.median(totals[0])), ratio(totals[1], totals[0])
        if any(measured.wrong):
            return Verified((), (*dropped, *kept.values()), nanoseconds, time, differs=True)
        plain, tuned = (kernel_times(plan, measured, number) for number in (0, 1))
        slower = [n for n in kept if ratio(tuned[n], plain[n]).value >= 1]
        if not slower and time.value < 1 and not time.is_slower:
            return Verified(tuple(kept.values()), tuple(dropped), nanoseconds, time)
        for number in slower:
            dropped.append(kept.pop(number))
            tell(Dropped(number, dropped[-1].parameters))
    return Verified((), (*dropped, *kept.values()), nanoseconds, Ratio(1.0, 0.0))
