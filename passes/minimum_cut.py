"""Minimum cut of a directed graph with capacities: Dinic's algorithm.

Blocking flows in the graph of shortest paths, until no path is left (E. A. Dinic, "Algorithm for
solution of a problem of maximum flow in networks with power estimation", 1970). Networks here have
few edges a node and most nodes close to a terminal, so a handful of phases do.
"""

from __future__ import annotations

from collections import deque


class Network:
    """Nodes are numbers; 0 is the source, 1 the sink."""

    def __init__(self) -> None:
        self._to: list[int] = []
        # What an edge can still take; that of number e ^ 1 is the way back.
        self._room: list[int] = []
        self._edges: list[list[int]] = [[], []]

    def node(self) -> int:
        """A new node's number."""
        self._edges.append([])
        return len(self._edges) - 1

    def edge(self, start: int, end: int, capacity: int, back: int = 0) -> None:
        """An edge, and one back with the capacity `back`."""
        for here, there, room in ((start, end, capacity), (end, start, back)):
            self._edges[here].append(len(self._to))
            self._to.append(there)
            self._room.append(room)

    def cut(self, limit: int) -> tuple[int, list[bool]]:
        """The capacity of the minimum cut, and for each node whether it is on the sink's side,
        which is the smallest there is. Once the capacity reaches `limit` the search may end.
        """
        total = 0
        while total < limit:
            distance = self._distances()
            if distance[0] < 0:
                break
            total += self._blocking_flow(distance)
        return total, [d >= 0 for d in self._distances()]

    def _distances(self) -> list[int]:
        """Edges with room from each node to the sink; -1 where there is no way."""
        distance = [-1] * len(self._edges)
        distance[1] = 0
        queue = deque([1])
        while queue:
            here = queue.popleft()
            for edge in self._edges[here]:
                there = self._to[edge]
                if distance[there] < 0 and self._room[edge ^ 1]:
                    distance[there] = distance[here] + 1
                    queue.append(there)
        return distance

    def _blocking_flow(self, distance: list[int]) -> int:
        """Sends flow along shortest paths until each has a full edge; gives how much."""
        to, room, edges = self._to, self._room, self._edges
        untried = [len(each) for each in edges]
        path: list[int] = []
        here = total = 0
        while True:
            if here == 1:
                sent = min(room[edge] for edge in path)
                total += sent
                for edge in path:
                    room[edge] -= sent
                    room[edge ^ 1] += sent
                full = next(i for i, edge in enumerate(path) if not room[edge])
                here = to[path[full] ^ 1]
                del path[full:]
            while untried[here]:
                edge = edges[here][untried[here] - 1]
                if room[edge] and distance[to[edge]] == distance[here] - 1:
                    path.append(edge)
                    here = to[edge]
                    break
                untried[here] -= 1
            else:
                if not path:
                    return total
                here = to[path.pop() ^ 1]
                untried[here] -= 1
