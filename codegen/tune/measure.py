"""Measures artefacts: what is asked, what the answer is, and how it is found.

Artefacts run in turns on the same inputs, and of each the profile of every run is kept, so that
whatever disturbs the machine for longer than a round disturbs all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from bireme.codegen.accuracy import difference, tolerance_of
from bireme.ir import Array, DType
from bireme.ir.data import random_arrays
from bireme.runtime import Model, Session

WARM_UP = 2


@dataclass(frozen=True)
class Measure:
    """A request: run artefacts in turns.

    `paths` are files. `cores` are the numbers of those to run on, as many as there are `threads`.
    A run counts once all artefacts had one; there are at least `least` such rounds, then more
    until `seconds` have passed, but at most `most`. `sizes` are those of the inputs' symbols.
    `pairs` are outputs to compare, (artefact, name) each, the first being the yardstick; `whole`
    says that they are results of a model and not of one kernel.
    """

    paths: tuple[str, ...]
    cores: tuple[int, ...]
    seconds: float
    least: int
    most: int
    seed: int = 0
    sizes: Mapping[str, int] | None = None
    isa: str | None = None
    pairs: tuple[tuple[tuple[int, str], tuple[int, str]], ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class Measured:
    """The answer. For each artefact `times` has nanoseconds of rounds × instructions, and `ops`
    what the instructions do. `wrong` counts, for each pair, the elements beyond the tolerance.
    `isa` is the instruction set that ran.
    """

    times: tuple[Array, ...]
    ops: tuple[tuple[str, ...], ...]
    wrong: tuple[int, ...]
    isa: str


def measure(request: Measure) -> Measured:
    """Does what is asked, in this process. Raises RuntimeFault."""
    models = [Model.load(path, max_isa=request.isa) for path in request.paths]
    feed = _data(models[0], request)
    threads = len(request.cores)
    sessions = [Session(m, threads=threads, profile=True, seed=request.seed) for m in models]
    outputs = [session.run(feed) for session in sessions]
    wrong = tuple(
        _wrong(outputs[a][x], outputs[b][y], request.whole) for (a, x), (b, y) in request.pairs
    )
    del outputs
    for _ in range(WARM_UP - 1):
        for session in sessions:
            session.run(feed)
    last = [_clocks(session) for session in sessions]
    rounds: list[list[Array]] = [[] for _ in sessions]
    start = perf_counter()
    while len(rounds[0]) < request.most:
        for number, session in enumerate(sessions):
            session.run(feed)
            now = _clocks(session)
            rounds[number].append(now - last[number])
            last[number] = now
        if perf_counter() - start > request.seconds and len(rounds[0]) >= request.least:
            break
    ops = tuple(tuple(entry.op for entry in session.profile()) for session in sessions)
    return Measured(tuple(np.stack(each) for each in rounds), ops, wrong, models[0].isa)


def _data(model: Model, request: Measure) -> dict[str, Array]:
    sizes = request.sizes or {}
    shapes = [
        tuple(d if isinstance(d, int) else sizes[str(d)] for d in info.shape)
        for info in model.inputs
    ]
    inputs = [(i.name, i.dtype, shape) for i, shape in zip(model.inputs, shapes, strict=True)]
    return random_arrays(inputs, seed=request.seed)


def _clocks(session: Session) -> Array:
    return np.array([entry.nanoseconds for entry in session.profile()], np.int64)


def _wrong(expected: Array, found: Array, whole: bool) -> int:
    allowed = tolerance_of(DType.of(expected))
    relative = allowed.model if whole else allowed.kernel
    return difference(expected, found, relative, allowed.noise).wrong
