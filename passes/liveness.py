"""When values are live: positions of ops in a straight line, and an interval for every value.

Blocks are laid out in program order with the regions of control flow in the middle of their op. An
op without control flow, kernels among them, has one position; an `if`, `while` or `scan` has one
where it begins, one at the end of each region, and one where it ends. The rules for regions:

* A value from outside a loop that the loop's regions read is live to the loop's end.
* Arguments of a loop's regions are live from the loop's beginning to its end: they are carried.
* Results of a loop are live from its beginning, since every pass writes them; results of an `if`
  from
  the end of its first region.
* The sequences of a `scan` are read until it ends; other operands are read where the op begins.
* What a region yields is read at that region's end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bireme.ir import Block, Graph, Op, Value

_LOOPS = ("while", "scan")


@dataclass(frozen=True)
class Interval:
    """First and last position at which a value occupies memory, both inclusive."""

    first: int
    last: int

    def overlaps(self, other: Interval) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Liveness:
    """Positions of ops and intervals of values. Inputs of the graph are written at position 0.

    `begin` and `end` of an op differ for control flow only; `region_end` is keyed by (op, region).
    """

    begin: dict[Op, int]
    end: dict[Op, int]
    region_end: dict[tuple[Op, int], int]
    intervals: dict[Value, Interval]
    length: int


def analyse(graph: Graph) -> Liveness:
    """Liveness of every value of `graph` outside kernels; outputs are live to the end."""
    lines = _Lines()
    lines.block(graph.body)
    length = lines.next
    first: dict[Value, int] = dict.fromkeys(graph.inputs, 0)
    last: dict[Value, int] = dict.fromkeys(graph.inputs, 0)
    for op in lines.begin:
        for value, position in lines.definitions(op):
            first[value] = last[value] = position
    for op in lines.begin:
        for value, position in lines.reads(op):
            last[value] = max(last[value], position)
    for value in graph.outputs:
        last[value] = length
    intervals = {v: Interval(first[v], last[v]) for v in first}
    return Liveness(lines.begin, lines.end, lines.region_end, intervals, length)


def is_control(op: Op) -> bool:
    """Whether an op's regions run as part of the program, and not as one kernel."""
    return bool(op.blocks) and op.name != "kernel"


@dataclass
class _Lines:
    """Lays out ops and answers where they define and read values."""

    next: int = 1
    begin: dict[Op, int] = field(default_factory=dict)
    end: dict[Op, int] = field(default_factory=dict)
    region_end: dict[tuple[Op, int], int] = field(default_factory=dict)
    # For each op the loops around it, innermost last.
    loops: dict[Op, tuple[Op, ...]] = field(default_factory=dict)

    def _step(self) -> int:
        self.next += 1
        return self.next - 1

    def block(self, block: Block, loops: tuple[Op, ...] = ()) -> None:
        for op in block.ops:
            self.loops[op] = loops
            self.begin[op] = self._step()
            if is_control(op):
                inside = (*loops, op) if op.name in _LOOPS else loops
                for number, inner in enumerate(op.blocks):
                    self.block(inner, inside)
                    self.region_end[op, number] = self._step()
                self.end[op] = self._step()
            else:
                self.end[op] = self.begin[op]

    def definitions(self, op: Op) -> list[tuple[Value, int]]:
        """Values an op brings into being, and where: its results, the arguments of its regions."""
        start = self.region_end[op, 0] if op.name == "if" else self.begin[op]
        found = [(v, start) for v in op.results]
        if op.name in _LOOPS:
            found += [(v, self.begin[op]) for block in op.blocks for v in block.arguments]
        return found

    def reads(self, op: Op) -> list[tuple[Value, int]]:
        """Values an op reads, and the last position at which it does."""
        found = [(v, self._until(v, op, self.begin[op])) for v in op.operands]
        if op.name == "scan":
            found += [(v, self.end[op]) for v in op.operands[op.attrs["carries"] :]]
        if not is_control(op):
            return found
        for number, block in enumerate(op.blocks):
            if op.name in _LOOPS:
                found += [(v, self.end[op]) for v in block.arguments]
            at = self.region_end[op, number]
            inside = (*self.loops[op], op) if op.name in _LOOPS else self.loops[op]
            found += [(v, self._beyond(v, inside, at)) for v in block.yields]
        return found

    def _until(self, value: Value, reader: Op, position: int) -> int:
        return self._beyond(value, self.loops[reader], position)

    def _beyond(self, value: Value, loops: tuple[Op, ...], position: int) -> int:
        """`position`, or the end of the outermost of `loops` that does not make `value`."""
        owner = value.owner
        if owner is not None:
            made_in = self.loops[owner]
        else:
            holder = _argument_owner(value)
            made_in = (*self.loops[holder], holder) if holder is not None else ()
        outside = loops[len(made_in) :]
        return self.end[outside[0]] if outside else position


def _argument_owner(value: Value) -> Op | None:
    """The loop whose region has this argument; None for an input of the graph."""
    block = Block(value.graph, value.mlir.owner)
    if block == value.graph.body:
        return None
    return Op(value.graph, block.mlir.owner.operation)
