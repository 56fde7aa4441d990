"""Chooses between two forms for every value of a graph so that conversions cost least.

A pure function over a small data structure. Each node makes its values, and reads its operands, in
one of two forms. A value that is read in the other form is converted once, however many read it.
The choice that costs least in total is a minimum cut, so it is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import networkx as nx


class Form(Enum):
    """The two forms of a value."""

    PLAIN = "plain"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class Choice:
    """A node: `fixed` when it has no choice, else what each form costs it."""

    fixed: Form | None = None
    plain_cost: int = 0
    blocked_cost: int = 0


@dataclass(frozen=True)
class Flow:
    """A value: node `producer` makes it, `readers` read it, `cost` is that of one conversion.

    None for `cost` says that the value cannot be converted.
    """

    producer: int
    readers: tuple[int, ...]
    cost: int | None


def assign(choices: Sequence[Choice], flows: Sequence[Flow]) -> list[Form]:
    """The form of every node; plain where both cost the same.

    Raises ValueError when fixed forms contradict a value that cannot be converted.
    """
    graph = nx.DiGraph()
    graph.add_nodes_from((_PLAIN, _BLOCKED))
    # A cut pays for each edge from the plain side to the blocked side.
    for number, choice in enumerate(choices):
        if choice.fixed is Form.PLAIN:
            graph.add_edge(_PLAIN, number)
        elif choice.fixed is Form.BLOCKED:
            graph.add_edge(number, _BLOCKED)
        else:
            graph.add_edge(_PLAIN, number, capacity=choice.blocked_cost)
            graph.add_edge(number, _BLOCKED, capacity=choice.plain_cost)
    for number, flow in enumerate(flows):
        weight = {} if flow.cost is None else {"capacity": flow.cost}
        # `packed` is blocked as soon as one reader is, `unpacked` plain as soon as one reader is.
        packed, unpacked = ("packed", number), ("unpacked", number)
        graph.add_edge(flow.producer, packed, **weight)
        graph.add_edge(unpacked, flow.producer, **weight)
        for reader in flow.readers:
            graph.add_edge(packed, reader)
            graph.add_edge(reader, unpacked)
    try:
        _, (_, blocked) = nx.minimum_cut(graph, _PLAIN, _BLOCKED)
    except nx.NetworkXUnbounded:
        raise ValueError("a value that cannot be converted has two fixed forms") from None
    # NetworkX gives the smallest sink side there is, so a node without a reason stays plain.
    return [Form.BLOCKED if number in blocked else Form.PLAIN for number in range(len(choices))]


_PLAIN = "plain"
_BLOCKED = "blocked"
