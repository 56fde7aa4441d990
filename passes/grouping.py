"""Decides which ops share a kernel: a pure function over a small description of a block.

Kernels are grown from anchors, the most demanding first: contractions take the pointwise ops that
follow them, reductions also what feeds them, pools what follows; the pointwise and injective ops
that remain are joined with each other. Every join keeps the graph of kernels acyclic (see
`partition`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from heapq import heapify, heappop, heappush

from bireme.ir import Dim
from bireme.passes.partition import Partition

# The kind of kernel that has two products and the softmax between them.
ATTENTION = "attention"


class Role(Enum):
    """What an op may be in a kernel. The values of the first five are the kinds of kernel."""

    CONTRACTION = "contraction"
    REDUCTION = "reduction"
    POOL = "pool"
    POINTWISE = "pointwise"
    OPAQUE = "opaque"
    INJECTIVE = "injective"  # joins pointwise kernels, reading one element at a computed index
    BARE = "bare"  # not in any kernel: views, constants, control flow


@dataclass(frozen=True)
class Node:
    """An op as fusion sees it.

    `reads` has an entry for each operand: the node that makes it, or -1 for a value from outside
    the block; ops with regions list what the regions read as well. `escapes` says that something
    outside the block, or its end, reads the result. `shape` is that of the first result.
    """

    name: str
    role: Role
    shape: tuple[Dim, ...]
    reads: tuple[int, ...] = ()
    escapes: bool = False
    zero_pad: bool = False  # a `pad` that surrounds its operand with zeros
    widens: bool = False  # a cast whose operand takes less memory: for its readers to do
    attends: bool = False  # a product, softmax or transpose that can be a part of attention
    behind: int = -1  # of a depthwise convolution: the convolution whose kernel it is to join


@dataclass(frozen=True)
class Group:
    """Nodes of one kernel, ascending; `kind` is None for a node that stays outside kernels."""

    kind: str | None
    members: tuple[int, ...]


@dataclass(frozen=True)
class Limits:
    """How large a kernel may grow."""

    ops: int = 48
    operands: int = 24


# Ops worth computing again for every element that a broadcast needs.
CHEAP = frozenset({
    "abs", "add", "bitcast", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "cast",
    "dim_values", "equal", "expand", "gather", "greater", "greater_equal", "iota", "less",
    "less_equal", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum",
    "minimum", "mul", "neg", "not_equal", "relu", "slice", "sub", "transpose", "where",
})  # fmt: skip
CHEAP_OPS = 6

# Injective ops that read every element at most once, so that what feeds them is computed once.
READ_ONCE = frozenset({"transpose", "slice", "pad", "reverse_sequence"})
# Injective ops that read every element several times.
READS_NEIGHBOURS = frozenset({"resize"})
# Injective ops that may stand between memory and an anchor.
CONTRACTION_PROLOGUE = {
    "matmul": frozenset({"transpose", "slice", "expand"}),
    "conv": frozenset({"slice"}),
}
REDUCTION_PROLOGUE = frozenset({"transpose", "slice", "gather"})


def group(nodes: Sequence[Node], limits: Limits = Limits()) -> list[Group]:
    """The kernels and bare nodes of a block, in an order in which they can run."""
    grouping = _Grouping(nodes, limits)
    for role in (Role.CONTRACTION, Role.REDUCTION, Role.POOL):
        anchors = [i for i, node in enumerate(nodes) if node.role is role]
        for anchor in anchors:
            grouping.add_epilogue(anchor)
        for anchor in anchors:
            grouping.add_side_producers(anchor)
            if role is Role.REDUCTION:
                grouping.add_reduction_prologue(anchor)
            if role is Role.CONTRACTION:
                grouping.add_contraction_prologue(anchor)
                grouping.add_padded_store(anchor)
        if role is Role.CONTRACTION:
            for i, node in enumerate(nodes):
                if node.name == "softmax" and node.attends:
                    grouping.join_attention(i)
    for i in range(len(nodes)):
        grouping.add_depthwise(i)
    for i, node in enumerate(nodes):
        if node.role in (Role.POINTWISE, Role.INJECTIVE):
            grouping.join_producers(i)
    return grouping.result()


class _Grouping:
    """The state of `group`. A group is named as in `Partition`; its anchor decides its kind."""

    def __init__(self, nodes: Sequence[Node], limits: Limits) -> None:
        self.nodes = nodes
        self.limits = limits
        self.partition = Partition([sorted({r for r in n.reads if r >= 0}) for n in nodes])
        self.users: list[list[int]] = [[] for _ in nodes]
        for i, node in enumerate(nodes):
            for read in sorted({r for r in node.reads if r >= 0}):
                self.users[read].append(i)
        self.anchored = {i for i, n in enumerate(nodes) if n.role in _ANCHORS}

    # --- growing around an anchor -----------------------------------------------------------------

    def add_epilogue(self, anchor: int) -> None:
        """Joins pointwise ops that read the anchor's result, or each other, at its own shape."""
        shape = self.nodes[anchor].shape
        # In program order, so that what a node reads has been tried before it.
        waiting = [*self.users[anchor]]
        heapify(waiting)
        last = -1
        while waiting:
            user = heappop(waiting)
            if user == last or self._together(user, anchor):
                continue
            last = user
            fits = self._free(user, Role.POINTWISE) and self.nodes[user].shape == shape
            if fits and not self.nodes[user].widens and self._join(anchor, user):
                for reader in self.users[user]:
                    heappush(waiting, reader)

    def add_side_producers(self, anchor: int) -> None:
        """Joins pointwise ops and slices at the anchor's shape that feed only its epilogue."""
        shape = self.nodes[anchor].shape
        front = [m for m in self._members(anchor) if m != anchor]
        while front:
            for read in self._reads(front.pop(0)):
                computes = self._free(read, Role.POINTWISE)
                fits = computes or (self.nodes[read].name == "slice" and self._alone(read))
                if not fits or self.nodes[read].shape != shape:
                    continue
                if self._feeds_only(read, anchor) and self._join(anchor, read) and computes:
                    front.append(read)

    def add_reduction_prologue(self, anchor: int) -> None:
        """Joins what feeds only the anchor: pointwise ops at its operand's shape, and moves.

        However often the kernel passes over a row, it computes what feeds it once.
        """
        front = [r for r in self.nodes[anchor].reads[:1] if r >= 0]
        while front:
            node = front.pop(0)
            if not self._feeds_only(node, anchor):
                continue
            moves = self.nodes[node].name in REDUCTION_PROLOGUE
            if not (moves or self._free(node, Role.POINTWISE)) or self._is_anchored(node):
                continue
            if self._join(anchor, node):
                shape = self.nodes[node].shape
                anyway = self.nodes[node].name in READ_ONCE
                front += [r for r in self._reads(node) if anyway or self.nodes[r].shape == shape]

    def add_contraction_prologue(self, anchor: int) -> None:
        """Joins chains of moves between memory and the operands."""
        moves = CONTRACTION_PROLOGUE.get(self.nodes[anchor].name, frozenset())
        for operand in self.nodes[anchor].reads:
            node = operand
            while node >= 0 and self.nodes[node].name in moves:
                if not self._feeds_only(node, anchor) or not self._join(anchor, node):
                    break
                node = self.nodes[node].reads[0]

    def add_padded_store(self, anchor: int) -> None:
        """Joins a pad with zeros when it alone reads what the kernel makes."""
        outputs = self._outputs(self._members(anchor))
        if len(outputs) != 1:
            return
        (tip,) = outputs
        if self.nodes[tip].escapes or len(self.users[tip]) != 1:
            return
        (user,) = self.users[tip]
        pads = self.nodes[user].zero_pad and self.nodes[user].reads[0] == tip
        if pads and self._free(user, Role.INJECTIVE):
            self._join(anchor, user)

    def join_attention(self, softmax: int) -> None:
        """Joins a softmax with the kernel of the product it reads and that of the product that
        reads it, and a transpose that alone reads the result.

        Either end has but one way into the softmax or out of it, so that no cycle can come about.
        """
        scores, readers = self.nodes[softmax].reads[0], self.users[softmax]
        if self.nodes[softmax].escapes or len(readers) != 1 or scores < 0:
            return
        (mixed,) = readers
        node, reads = self.nodes[mixed], self.nodes[mixed].reads
        first, second = self._members(scores), self._members(mixed)
        products = [m for m in first if self.nodes[m].role is Role.CONTRACTION]
        if not (node.attends and node.role is Role.CONTRACTION and reads[0] == softmax):
            return
        if len(products) != 1 or not self.nodes[products[0]].attends or reads[1] == softmax:
            return
        apart = self.nodes[scores].escapes or self.users[scores] != [softmax]
        if apart or self._outputs(first) != [scores]:
            return
        if node.shape[:-2] != self.nodes[softmax].shape[:-2]:
            return
        if any(self.nodes[m].shape != node.shape for m in self._outputs(second)):
            return
        members = [*first, softmax, *second]
        if len(members) > self.limits.ops or self._operands(members) > self.limits.operands:
            return
        self._join(softmax, scores)
        self._join(softmax, mixed)
        outputs = self._outputs(self._members(softmax))
        if len(outputs) != 1 or self.nodes[outputs[0]].escapes:
            return
        (tip,) = outputs
        (user, *others) = self.users[tip]
        moves = self.nodes[user].name == "transpose" and self.nodes[user].attends
        if moves and not others and self._alone(user):
            self._join(softmax, user)

    def add_depthwise(self, node: int) -> None:
        """Joins a depthwise convolution with the convolution that only it reads."""
        first = self.nodes[node].behind
        if first < 0:
            return
        read = self.nodes[node].reads[0]
        alone = self.users[read] == [node] and not self.nodes[read].escapes
        if alone and self._outputs(self._members(first)) == [read]:
            self._join(first, node)

    # --- pointwise kernels ------------------------------------------------------------------------

    def join_producers(self, node: int) -> None:
        """Joins `node` with the pointwise kernels it reads, where that saves a trip to memory."""
        if self._is_anchored(node) or self.nodes[node].widens:
            return
        for operand in self._reads(node):
            joinable = self.nodes[operand].role in (Role.POINTWISE, Role.INJECTIVE)
            if not joinable or self._is_anchored(operand) or self._together(operand, node):
                continue
            if self._same_loop(operand, node) or self._inlines(operand, node):
                self._join(operand, node)

    def _same_loop(self, operand: int, node: int) -> bool:
        """Whether both can be results of one loop nest, element by element."""
        members = [*self._members(operand), *self._members(node)]
        if any(self.nodes[m].name == "concat" for m in members):
            return False
        shape = self.nodes[node].shape
        outputs = [*self._outputs(self._members(operand)), operand]
        return self.nodes[node].role is Role.POINTWISE and all(
            self.nodes[o].shape == shape for o in outputs
        )

    def _inlines(self, operand: int, node: int) -> bool:
        """Whether the operand's kernel is better computed where `node` reads it."""
        members = self._members(operand)
        if self._outputs(members) != [operand] or not self._feeds_only(operand, node):
            return False
        if any(self.nodes[m].name == "concat" for m in members):
            return False
        name = self.nodes[node].name
        if name in READS_NEIGHBOURS:
            return False
        if name == "concat":
            # Behind axes of size 1 a concat is no work: its operands can be stored in place.
            return not self._stores_in_place(node, operand)
        if name in READ_ONCE:
            return True
        return len(members) <= CHEAP_OPS and all(self.nodes[m].name in CHEAP for m in members)

    def _stores_in_place(self, concat: int, operand: int) -> bool:
        whole, part = self.nodes[concat].shape, self.nodes[operand].shape
        for a, b in zip(whole, part, strict=True):
            if a != b:
                return True
            if a != 1:
                return False
        return True

    # --- what is asked everywhere -----------------------------------------------------------------

    def _members(self, node: int) -> list[int]:
        return self.partition.members(self.partition.group(node))

    def _together(self, a: int, b: int) -> bool:
        return self.partition.group(a) == self.partition.group(b)

    def _is_anchored(self, node: int) -> bool:
        return any(m in self.anchored for m in self._members(node))

    def _alone(self, node: int) -> bool:
        return len(self._members(node)) == 1

    def _free(self, node: int, role: Role) -> bool:
        """Whether a node of this role is still alone."""
        return self.nodes[node].role is role and self._alone(node)

    def _reads(self, node: int) -> list[int]:
        """Nodes it reads, each once, in operand order."""
        return list(dict.fromkeys(r for r in self.nodes[node].reads if r >= 0))

    def _feeds_only(self, node: int, other: int) -> bool:
        """Whether all that reads `node` is in the group of `other`."""
        return not self.nodes[node].escapes and all(
            self._together(user, other) for user in self.users[node]
        )

    def _outputs(self, members: Sequence[int]) -> list[int]:
        """Members that something outside the group reads."""
        inside = set(members)
        return [m for m in members if self.nodes[m].escapes or not inside.issuperset(self.users[m])]

    def _operands(self, members: Iterable[int]) -> int:
        inside = set(members)
        made = {r for m in inside for r in self.nodes[m].reads if r >= 0 and r not in inside}
        # A value from outside has no number here; counting each use is on the safe side.
        return len(made) + sum(r < 0 for m in inside for r in self.nodes[m].reads)

    def _join(self, a: int, b: int) -> bool:
        members = [*self._members(a), *self._members(b)]
        if len(members) > self.limits.ops or self._operands(members) > self.limits.operands:
            return False
        return self.partition.merge(self.partition.group(a), self.partition.group(b))

    def result(self) -> list[Group]:
        groups = []
        for name in self.partition.groups:
            members = self.partition.members(name)
            roles = [self.nodes[m].role for m in members]
            kind = next((r.value for r in roles if r in _ANCHORS), Role.POINTWISE.value)
            if {Role.CONTRACTION, Role.REDUCTION} <= {*roles}:
                kind = ATTENTION
            groups.append(Group(None if roles == [Role.BARE] else kind, tuple(members)))
        return groups


_ANCHORS = frozenset({Role.CONTRACTION, Role.REDUCTION, Role.POOL, Role.OPAQUE, Role.BARE})
