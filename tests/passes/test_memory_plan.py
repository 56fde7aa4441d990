"""Properties of the memory planner: nothing live overlaps, at any sizes; bounds; determinism."""

from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bireme.passes.memory_plan import ALIGNMENT, Buffer, plan_memory


def aligned(size):
    return -(-size // ALIGNMENT) * ALIGNMENT


def place(plan, sizes):
    """What the runtime does with `after` at other sizes than the planned ones."""
    offsets = {}
    for p in plan.placements:
        if p.shares is None:
            offsets[p.id] = max([aligned(offsets[a] + sizes[a]) for a in p.after], default=0)
        else:
            offsets[p.id] = offsets[p.shares]
    return offsets


def shared(plan):
    return {p.id: p.id if p.shares is None else p.shares for p in plan.placements}


def assert_no_overlap(buffers, plan, offsets, sizes):
    roots = shared(plan)
    for a, b in combinations(buffers, 2):
        if roots[a.id] == roots[b.id] or a.first > b.last or b.first > a.last:
            continue
        apart = (
            offsets[a.id] + sizes[a.id] <= offsets[b.id]
            or offsets[b.id] + sizes[b.id] <= offsets[a.id]
        )
        assert apart, (a, b, offsets[a.id], offsets[b.id])


@st.composite
def buffer_lists(draw):
    count = draw(st.integers(0, 14))
    found = []
    for number in range(count):
        first = draw(st.integers(0, 12))
        length = draw(st.integers(0, 6))
        size = draw(st.sampled_from([0, 1, 64, 100, 128, 1000, 4096]))
        partners = draw(st.sets(st.integers(0, count - 1), max_size=3)) if number % 2 else set()
        found.append(Buffer(number, size, first, first + length, tuple(sorted(partners))))
    return found


@settings(max_examples=300, deadline=None)
@given(buffer_lists(), st.data())
def test_live_buffers_never_overlap(buffers, data):
    plan = plan_memory(buffers)
    hint = {b.id: b.size for b in buffers}
    offsets = {p.id: p.offset for p in plan.placements}
    assert sorted(offsets) == sorted(hint)
    assert_no_overlap(buffers, plan, offsets, hint)
    assert place(plan, hint) == offsets
    assert plan.arena == max((offsets[i] + aligned(hint[i]) for i in hint), default=0)
    assert plan.lower_bound <= plan.arena <= plan.total

    # Buffers that share have the same size at all sizes; the others vary freely.
    roots = shared(plan)
    factor = {r: data.draw(st.sampled_from([0, 1, 3, 77, 64, 5000])) for r in set(roots.values())}
    other = {b.id: factor[roots[b.id]] for b in buffers}
    assert_no_overlap(buffers, plan, place(plan, other), other)


@settings(deadline=None)
@given(buffer_lists())
def test_the_plan_does_not_depend_on_the_order_of_the_buffers(buffers):
    assert plan_memory(buffers) == plan_memory(buffers[::-1])


@settings(deadline=None)
@given(buffer_lists())
def test_only_what_may_share_shares(buffers):
    by_id = {b.id: b for b in buffers}
    plan = plan_memory(buffers)
    roots = shared(plan)
    for a, b in combinations(buffers, 2):
        if roots[a.id] == roots[b.id]:
            first, second = sorted((a, b), key=lambda x: x.first)
            assert first.last <= second.first
            assert first.size == second.size
    for p in plan.placements:
        if p.shares is not None:
            givers = [by_id[i] for i in by_id[p.id].may_share_with if i in by_id]
            assert any(g.last == by_id[p.id].first and roots[g.id] == p.shares for g in givers)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=40))
def test_a_chain_reaches_the_lower_bound(sizes):
    buffers = [Buffer(i, size, i, i + 1) for i, size in enumerate(sizes)]
    plan = plan_memory(buffers)
    pairs = [aligned(a) + aligned(b) for a, b in pairwise(sizes)]
    assert plan.arena == plan.lower_bound == max([*pairs, aligned(sizes[0])])


def test_a_residual_network_reaches_the_lower_bound():
    buffers = []
    for block in range(16):
        size, start = (3136, 1568, 784, 392)[block // 4] * 256, 3 * block
        buffers += [
            Buffer(3 * block, size, start, start + 3),
            Buffer(3 * block + 1, size // 4, start + 1, start + 2),
            Buffer(3 * block + 2, size // 4 + 6400, start + 2, start + 3),
        ]
    plan = plan_memory(buffers)
    assert plan.arena == plan.lower_bound


def test_an_element_wise_chain_in_place_needs_one_buffer():
    buffers = [Buffer(i, 1000, i, i + 1, (i - 1,) if i else ()) for i in range(5)]
    plan = plan_memory(buffers)
    assert plan.arena == plan.lower_bound == 1024
    assert plan.total == 5 * 1024
    assert str(plan) == "arena 0.01 → 0.00 MB, lower bound 0.00 MB"


def test_a_buffer_that_is_still_read_is_not_taken_over():
    read_later = [Buffer(0, 64, 0, 2), Buffer(1, 64, 1, 2, (0,))]
    assert plan_memory(read_later).arena == 128
    larger = [Buffer(0, 64, 0, 1), Buffer(1, 128, 1, 2, (0,))]
    assert plan_memory(larger).arena == 192


def test_after_names_only_what_is_needed():
    stack = [Buffer(i, 64 * (4 - i), 0, 1) for i in range(4)]
    plan = plan_memory(stack)
    assert [len(p.after) for p in plan.placements] == [0, 1, 1, 1]


def test_two_buffers_with_one_id_are_an_error():
    buffer = Buffer(0, 64, 0, 1)
    with pytest.raises(ValueError, match="same id"):
        plan_memory([buffer, replace(buffer, size=128)])


def test_a_large_graph_is_planned_well():
    """As many buffers as a large model has, each overlapping a few: within 5 % of the bound."""
    buffers = [Buffer(i, 64 * (1 + (i * 7919) % 97), i, i + 1 + (i * 31) % 5) for i in range(300)]
    plan = plan_memory(buffers)
    assert plan.arena <= plan.lower_bound * 1.05
