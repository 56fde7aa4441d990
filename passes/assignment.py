"""Chooses between two forms for every value of a graph so that conversions cost least.

A pure function over a small data structure. Each node makes its values, and reads its operands, in
one of two forms. A value that is read in the other form is converted once, however many read it.
The choice that costs least in total is a minimum cut, so it is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from bireme.passes.minimum_cut import Network


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
    costs = [c for choice in choices for c in (choice.plain_cost, choice.blocked_cost)]
    without_end = 1 + sum(costs) + sum(2 * flow.cost for flow in flows if flow.cost is not None)
    # A cut pays for each edge from the plain side, that of the source, to the blocked side.
    network = Network()
    nodes = [network.node() for _ in choices]
    for node, choice in zip(nodes, choices, strict=True):
        if choice.fixed is not Form.BLOCKED:
            blocked = without_end if choice.fixed else choice.blocked_cost
            network.edge(_PLAIN, node, blocked)
        if choice.fixed is not Form.PLAIN:
            plain = without_end if choice.fixed else choice.plain_cost
            network.edge(node, _BLOCKED, plain)
    for flow in flows:
        cost = without_end if flow.cost is None else flow.cost
        producer = nodes[flow.producer]
        if len(flow.readers) == 1:
            network.edge(producer, nodes[flow.readers[0]], cost, back=cost)
            continue
        # `packed` is blocked as soon as one reader is, `unpacked` plain as soon as one reader is.
        packed, unpacked = network.node(), network.node()
        network.edge(producer, packed, cost)
        network.edge(unpacked, producer, cost)
        for reader in flow.readers:
            network.edge(packed, nodes[reader], without_end)
            network.edge(nodes[reader], unpacked, without_end)
    total, is_blocked = network.cut(without_end)
    if total >= without_end:
        raise ValueError("a value that cannot be converted has two fixed forms")
    # The blocked side is the smallest there is, so a node without a reason stays plain.
    return [Form.BLOCKED if is_blocked[node] else Form.PLAIN for node in nodes]


# The terminals of the network.
_PLAIN, _BLOCKED = 0, 1
