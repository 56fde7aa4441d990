"""Properties of the partition: groups stay acyclic, in topological order, and nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bireme.passes.partition import Partition


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 14))
    return [
        sorted(draw(st.sets(st.integers(0, node - 1), max_size=3))) if node else []
        for node in range(count)
    ]


def reachable(predecessors, group):
    """Pairs (a, b) of groups with a path from a to b in the contracted graph."""
    count = len(predecessors)
    edges = {(group[r], group[n]) for n in range(count) for r in predecessors[n]}
    edges = {(a, b) for a, b in edges if a != b}
    for via in range(count):
        edges |= {(a, d) for a, b in edges if b == via for c, d in edges if c == via}
    return edges


@given(graphs(), st.lists(st.tuples(st.integers(0, 13), st.integers(0, 13)), max_size=20))
def test_merges_keep_groups_acyclic_and_ordered(predecessors, merges):
    count = len(predecessors)
    partition = Partition(predecessors)
    for a, b in merges:
        a, b = partition.group(a % count), partition.group(b % count)
        naming = [partition.group(n) for n in range(count)]
        joined = [min(a, b) if g in (a, b) else g for g in naming]
        acyclic = all(x != y for x, y in reachable(predecessors, joined))
        assert partition.merge(a, b) == acyclic
        expected = joined if acyclic else naming
        assert [partition.group(n) for n in range(count)] == expected
        order = partition.groups
        assert sorted(order) == sorted(set(expected))
        assert sorted(n for g in order for n in partition.members(g)) == list(range(count))
        place = {g: i for i, g in enumerate(order)}
        for node, reads in enumerate(predecessors):
            for read in reads:
                assert place[expected[read]] <= place[expected[node]]


def test_a_path_through_a_third_group_is_refused():
    partition = Partition([[], [0], [0, 1]])
    assert not partition.merge(0, 2)
    assert partition.merge(0, 1)
    assert partition.merge(0, 2)
    assert partition.members(0) == [0, 1, 2]


def test_a_node_that_reads_a_later_one_is_an_error():
    with pytest.raises(ValueError, match="not before it"):
        Partition([[1], []])
