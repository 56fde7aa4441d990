"""Chooses what to reduce so that outputs stay within a limit, from how far each part puts them off.

Errors of different parts are taken to be independent, so their squares add up. Parts are runs of
contractions in program order; those that do not fit are cut in two and measured again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Parts to begin with, and how often those that did not fit are cut.
_PARTS, _CUTS = 8, 2

# (numbers of the contractions that are reduced) → how far outputs are off
Measure = Callable[[Sequence[int]], float]


@dataclass(frozen=True)
class Part:
    """Contractions that are reduced together or not at all: how far they alone put outputs off, and
    what they cost.
    """

    numbers: tuple[int, ...]
    error: float
    cost: float


def choose(
    numbers: Sequence[int], cost: Sequence[float], limit: float, measure: Measure
) -> set[int]:
    """Numbers to reduce, of much cost and little error; measured together they are within `limit`.

    `cost` gives each number's. `measure` is called some ten to forty times.
    """
    if not numbers or measure(numbers) <= limit:
        return set(numbers)

    def part(members: Sequence[int]) -> Part:
        return Part(tuple(members), measure(members), sum(cost[n] for n in members))

    size = -(-len(numbers) // _PARTS)
    parts = [part(numbers[i : i + size]) for i in range(0, len(numbers), size)]
    for _ in range(_CUTS):
        fitting = within(parts, limit)
        rest = [p for p in parts if p not in fitting]
        parts = [*fitting, *(part(half) for p in rest for half in _halves(p.numbers))]
    chosen = within(parts, limit)
    while chosen:
        found = sorted(n for p in chosen for n in p.numbers)
        if measure(found) <= limit:
            return set(found)
        chosen.remove(max(chosen, key=lambda p: p.error))
    return set()


def within(parts: Sequence[Part], limit: float) -> list[Part]:
    """Parts whose errors together are within the limit, those first that save most for their
    error.
    """
    chosen: list[Part] = []
    total = 0.0
    for each in sorted(parts, key=lambda p: p.error**2 / max(p.cost, 1.0)):
        if total + each.error**2 <= limit**2:
            chosen.append(each)
            total += each.error**2
    return chosen


def _halves(numbers: Sequence[int]) -> list[Sequence[int]]:
    middle = -(-len(numbers) // 2)
    return [half for half in (numbers[:middle], numbers[middle:]) if half]
