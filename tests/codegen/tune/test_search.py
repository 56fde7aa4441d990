"""Which candidates are tried, which kernel is next, and what noise lets one say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bireme.codegen.parameters import Choice, Space
from bireme.codegen.tune.noise import ratio
from bireme.codegen.tune.scheduler import Prospect, next_kernel
from bireme.codegen.tune.search import full, pinned, point, propose


@dataclass(frozen=True)
class Two:
    a: int
    b: int


def spaces():
    axis = st.lists(st.integers(1, 40), min_size=1, max_size=6, unique=True).map(sorted)

    def space(a, b, i, j, limit):
        default = Two(a[i % len(a)], b[j % len(b)])
        most = max(limit, default.a * default.b)
        return Space(default, {"a": a, "b": b}, lambda p: p.a * p.b <= most, frozenset({"a"}))

    number = st.integers(0, 5)
    return st.builds(space, axis, axis, number, number, st.integers(1, 1600))


hints = st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 40)), max_size=3)


@given(spaces(), hints, st.integers(1, 8), st.integers(0, 9))
def test_proposals_are_legal_new_repeatable_and_end(space, hints, count, seed):
    tried: set = set()
    best = full(space, {})
    while True:
        found = propose(space, best, hints, tried, count, str(seed))
        assert found == propose(space, best, hints, tried, count, str(seed))
        points = [point(values) for values in found]
        assert len(set(points)) == len(points) <= count
        assert not tried & set(points)
        assert point(full(space, {})) not in points
        assert all(space.holds(values) and set(values) == {"a", "b"} for values in found)
        tried |= set(points)
        if not found:
            break
        best = found[-1]
    legal = sum(space.holds({"a": a, "b": b}) for a in space.axes["a"] for b in space.axes["b"])
    assert len(tried) <= legal - 1


def test_a_small_space_is_tried_completely():
    space = Space(Two(1, 1), {"a": [1, 2, 3], "b": [1, 2]})
    assert len(propose(space, {}, [], [], 100, "")) == 5


def test_hints_come_first_moved_into_the_space():
    space = Space(Two(1, 1), {"a": [1, 2, 4, 8], "b": [1, 2, 3]})
    first, second, *_ = propose(space, {}, [{"a": 7, "z": 3}, {"b": 9}], [], 4, "")
    assert first == {"a": 8, "b": 1}
    assert second == {"a": 1, "b": 3}


@given(spaces(), st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 40)))
def test_what_is_shared_is_pinned(space, values):
    known = {n: v for n, v in values.items() if n == "a" and v in space.axes["a"]}
    found = pinned(space, known)
    assert list(found.axes["a"]) == [known.get("a", space.default.a)]
    assert found.default == space.choose(Choice({}, known))


def test_the_kernel_with_most_to_save_is_next():
    prospects = {0: Prospect(100.0), 1: Prospect(1000.0), 2: Prospect(1000.0)}
    order = []
    for _ in range(6):
        number = next_kernel(prospects)
        order.append(number)
        prospects[number] = prospects[number].after(0.0)
    assert order == [1, 2, 1, 2, 1, 2]
    prospects[1] = prospects[1].after(0.4)
    assert next_kernel(prospects) == 1
    assert prospects[1].nanoseconds == pytest.approx(600)
    assert next_kernel({n: p.exhausted() for n, p in prospects.items()}) is None
    assert next_kernel({}) is None


def test_a_gain_must_stand_out_of_the_noise():
    random = np.random.default_rng(0)
    base = 1000 * np.exp(random.normal(0, 0.3, 40))  # what slows down both
    quiet = base * 0.9 * np.exp(random.normal(0, 0.01, 40))
    assert ratio(quiet, base).is_faster
    assert ratio(base, quiet).is_slower
    wild = base * 0.9 * np.exp(random.normal(0, 0.6, 40))
    assert not ratio(wild, base).is_faster
    assert not ratio(base * 0.995, base).is_faster  # certain, and not worth it
    spikes = quiet.copy()
    spikes[:6] *= 50
    assert ratio(spikes, base).is_faster
