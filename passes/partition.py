"""Groups the nodes of a directed acyclic graph so that the graph of groups stays acyclic.

A pure data structure: nodes are numbers, and a number stands in topological order.
`Partition.merge` joins two groups when no path leaves one and enters the other through a third. The
groups are always kept in a topological order, so a merge looks only at what stands between the two
(the incremental ordering of Pearce and Kelly, "A dynamic topological sort algorithm for directed
acyclic graphs", 2006, with vertices that contract).
"""

from __future__ import annotations

from collections.abc import Sequence


class Partition:
    """`predecessors[n]` are the nodes that node `n` reads, all smaller than `n`."""

    def __init__(self, predecessors: Sequence[Sequence[int]]) -> None:
        count = len(predecessors)
        self._group = list(range(count))
        self._members: list[list[int]] = [[n] for n in range(count)]
        self._before: list[set[int]] = [set(p) for p in predecessors]
        self._after: list[set[int]] = [set() for _ in range(count)]
        for node, reads in enumerate(predecessors):
            for read in reads:
                if not 0 <= read < node:
                    raise ValueError(f"node {node} reads {read}, which is not before it")
                self._after[read].add(node)
        self._order = list(range(count))
        self._place = list(range(count))

    def group(self, node: int) -> int:
        """The group that holds `node`; a group is named by its first node."""
        return self._group[node]

    def members(self, group: int) -> list[int]:
        """Nodes of a group, ascending."""
        return sorted(self._members[group])

    @property
    def groups(self) -> list[int]:
        """Every group, in a topological order close to that of the nodes."""
        return list(self._order)

    def merge(self, a: int, b: int) -> bool:
        """Joins groups `a` and `b`; False, and nothing changes, when that would make a cycle."""
        if a == b:
            return True
        if self._place[a] > self._place[b]:
            a, b = b, a
        between = self._between(a, b)
        if between is None:
            return False
        self._reorder(a, b, between)
        self._contract(a, b)
        return True

    def _between(self, a: int, b: int) -> set[int] | None:
        """Groups placed after `a` that `b` depends on; None when one of them depends on `a`."""
        low = self._place[a]
        found: set[int] = set()
        stack = [g for g in self._before[b] if g != a and self._place[g] > low]
        while stack:
            group = stack.pop()
            if group in found:
                continue
            found.add(group)
            if a in self._before[group]:
                return None
            stack.extend(g for g in self._before[group] if self._place[g] > low)
        return found

    def _reorder(self, a: int, b: int, between: set[int]) -> None:
        """Puts what `b` needs before `a`, and takes `b` out of the order."""
        low, high = self._place[a], self._place[b]
        window = self._order[low : high + 1]
        needed = [g for g in window if g in between]
        rest = [g for g in window if g not in between and g not in (a, b)]
        self._order[low : high + 1] = [*needed, a, *rest]
        for place in range(low, len(self._order)):
            self._place[self._order[place]] = place

    def _contract(self, a: int, b: int) -> None:
        keep, gone = min(a, b), max(a, b)
        self._order[self._place[a]] = keep
        self._place[keep] = self._place[a]
        for node in self._members[gone]:
            self._group[node] = keep
        self._members[keep] += self._members[gone]
        self._members[gone] = []
        for mine, theirs in ((self._before, self._after), (self._after, self._before)):
            joined = (mine[keep] | mine[gone]) - {keep, gone}
            for neighbour in mine[gone]:
                theirs[neighbour].discard(gone)
            for neighbour in joined:
                theirs[neighbour].add(keep)
            mine[keep], mine[gone] = joined, set()
