"""Which parameters to try next: pure functions of what is known, so that a run can be repeated.

A kernel's search climbs from the best parameters known: first what similar kernels ended up with,
then the neighbours of the best along one axis, then along two, and in between some taken at random
from the whole space, against local optima. Nothing is proposed twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import combinations, islice, product
from random import Random
from typing import Any

from bireme.codegen.parameters import Space, Values

# Every so many proposals, one is taken at random.
_RANDOM_EVERY = 4
# How often to draw before a space counts as exhausted.
_DRAWS = 64

# Values in a form that can be kept in sets, whatever the order of the names.
Point = tuple[tuple[str, int], ...]


def point(values: Values) -> Point:
    """The values as a point."""
    return tuple(sorted(values.items()))


def full(space: Space[Any], values: Values) -> dict[str, int]:
    """The values with those of the default where there are none."""
    return {**asdict(space.default), **values}


def propose(
    space: Space[Any],
    best: Values,
    hints: Sequence[Values],
    tried: Iterable[Point],
    count: int,
    seed: str,
) -> list[Values]:
    """At most `count` legal points that were not tried; fewer when there are no more.

    `hints` are parameters of similar kernels, the most similar first. The same arguments give the
    same points.
    """
    seen = {*tried, point(asdict(space.default))}
    found: list[Values] = []
    for values in _candidates(space, full(space, best), hints, Random(f"{seed}/{len(seen)}")):
        if point(values) not in seen and space.holds(values):
            seen.add(point(values))
            found.append(values)
        if len(found) == count:
            break
    return found


def _candidates(
    space: Space[Any], best: dict[str, int], hints: Sequence[Values], random: Random
) -> Iterator[dict[str, int]]:
    for hint in hints:
        moved = space.nearest(hint)
        if moved is not None:
            yield full(space, moved)
    climbing = _climbing(space, best, random)
    for number in range(1, space_size(space) + _DRAWS):
        if number % _RANDOM_EVERY:
            step = next(climbing, None)
            if step is not None:
                yield step
                continue
        yield {name: random.choice(list(axis)) for name, axis in sorted(space.axes.items())}


def _climbing(space: Space[Any], best: dict[str, int], random: Random) -> Iterator[dict[str, int]]:
    """Neighbours of the best along one axis, then along two; in each group in a random order."""
    for together in (1, 2):
        steps = []
        for names in combinations(sorted(space.axes), together):
            for values in product(*(_beside(space.axes[n], best[n]) for n in names)):
                steps.append({**best, **dict(zip(names, values, strict=True))})
        random.shuffle(steps)
        yield from steps


def _beside(axis: Sequence[int], value: int) -> list[int]:
    """The next values of an axis, two in each direction."""
    below = [v for v in axis if v < value][-2:]
    return [*below, *islice((v for v in axis if v > value), 2)]


def space_size(space: Space[Any]) -> int:
    """Points of a space, legal or not."""
    size = 1
    for axis in space.axes.values():
        size *= len(axis)
    return size


def pinned(space: Space[Any], shared: Values) -> Space[Any]:
    """The space with its shared fields fixed: their values are given, or the default's."""
    fixed = {n: [full(space, shared)[n]] for n in space.shared}
    default = space.at({name: axis[0] for name, axis in fixed.items()})
    return Space(default, {**space.axes, **fixed}, space.legal, space.shared)
