"""The choice of forms costs least: compared with trying all of them."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bireme.passes.assignment import Choice, Flow, Form, assign

PLAIN, BLOCKED = Form.PLAIN, Form.BLOCKED


def cost(choices, flows, forms):
    """Total cost of an assignment; None when it is not allowed."""
    total = 0
    for choice, form in zip(choices, forms, strict=True):
        if choice.fixed not in (None, form):
            return None
        if choice.fixed is None:
            total += choice.plain_cost if form is PLAIN else choice.blocked_cost
    for flow in flows:
        if any(forms[r] is not forms[flow.producer] for r in flow.readers):
            if flow.cost is None:
                return None
            total += flow.cost
    return total


@st.composite
def problems(draw):
    count = draw(st.integers(1, 7))
    node = st.integers(0, count - 1)
    small = st.integers(0, 5)
    choices = [
        draw(st.builds(Choice, st.sampled_from([None, None, PLAIN, BLOCKED]), small, small))
        for _ in range(count)
    ]
    flow = st.builds(Flow, node, st.lists(node, max_size=3).map(tuple), st.one_of(small, st.none()))
    return choices, draw(st.lists(flow, max_size=7))


@settings(deadline=None, max_examples=200)
@given(problems())
def test_the_choice_is_the_cheapest(problem):
    choices, flows = problem
    every = [
        cost(choices, flows, forms) for forms in product((PLAIN, BLOCKED), repeat=len(choices))
    ]
    allowed = [c for c in every if c is not None]
    if not allowed:
        with pytest.raises(ValueError, match="cannot be converted"):
            assign(choices, flows)
        return
    assert cost(choices, flows, assign(choices, flows)) == min(allowed)


def test_a_value_with_many_readers_is_converted_once():
    choices = [Choice(BLOCKED), *[Choice(plain_cost=3)] * 3]
    forms = assign([*choices, Choice(PLAIN)], [Flow(0, (1, 2, 3), 5), Flow(1, (4,), 1)])
    assert forms == [BLOCKED] * 4 + [PLAIN]


def test_a_node_without_a_reason_stays_plain():
    assert assign([Choice(), Choice(PLAIN)], [Flow(0, (1,), 0)]) == [PLAIN, PLAIN]
    assert assign([], []) == []


def test_a_long_graph_needs_no_deep_recursion():
    """A chain of 5,000 values between fixed ends: one conversion, where it is cheapest."""
    count = 5000
    choices = [Choice(BLOCKED), *[Choice()] * (count - 2), Choice(PLAIN)]
    flows = [Flow(i, (i + 1,), 1 if i == 3333 else 2) for i in range(count - 1)]
    assert assign(choices, flows) == [BLOCKED] * 3334 + [PLAIN] * (count - 3334)
