"""Operator fusion: wraps ops in `kernel` regions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from bireme.ir import Block, Builder, DType, Fusion, Graph, Op, Value, evaluate
from bireme.passes.chain import chain_of, is_faster, link_of
from bireme.passes.grouping import Group, Limits, Node, Role, group
from bireme.passes.manager import Outcome, Pass, Property, count
from bireme.passes.rewrite import remove_unused
from bireme.passes.values import pads_with_zeros, symbols_used
from bireme.targets.description import Description

_ROLES = {
    Fusion.POINTWISE: Role.POINTWISE,
    Fusion.INJECTIVE: Role.INJECTIVE,
    Fusion.VIEW: Role.BARE,
    Fusion.REDUCTION: Role.REDUCTION,
    Fusion.CONTRACTION: Role.CONTRACTION,
    Fusion.OPAQUE: Role.OPAQUE,
    Fusion.CONTROL: Role.BARE,
    Fusion.SIZE: Role.BARE,
    Fusion.STATE: Role.BARE,
}

# Where the kernel generator's view differs from how elements depend on each other.
_ROLES_BY_NAME = {
    "constant": Role.BARE,
    "iota": Role.POINTWISE,
    "dim_values": Role.POINTWISE,
    "max_pool": Role.POOL,
    "avg_pool": Role.POOL,
    "lp_pool": Role.POOL,
    "lrn": Role.OPAQUE,
    "cumsum": Role.OPAQUE,
    "topk": Role.OPAQUE,
}

_GENERATED = ("iota", "dim_values")
# Kernels of these work in the memory of all their results, read or not.
_WORKS_IN_RESULTS = frozenset({"compact", "sort_rows"})
# From what sizes on attention is one kernel (see `_scores_gain`).
_SQUARE, _FEW_ROWS = 16, 4
# A kernel stores into the inner part of at most two spatial axes (of a blocked result).
_MOST_PADDED_AXES = 5


def _outside(graph: Graph) -> list[str]:
    return [
        f"{op.name} at {op.node or '?'} outside a kernel"
        for op in graph.walk()
        if role_of(op) is not Role.BARE and not _in_kernel(op)
    ]


def _in_kernel(op: Op) -> bool:
    parent = op.parent
    return parent is not None and parent.name == "kernel"


ALL_IN_KERNELS = Property("every op in a kernel", _outside)


@dataclass(frozen=True)
class Fuse(Pass):
    """Groups ops into kernels, each of which becomes one loop nest without trips to memory inside.

    Before::

        %0 = conv(%x, %w)
        %1 = add(%0, %b)
        %2 = relu(%1)

    After::

        %0 = kernel(%x, %w, %b) {kind = "contraction"} ({
        ^bb0(%x, %w, %b):
          %1 = conv(%x, %w)
          %2 = add(%1, %b)
          %3 = relu(%2)
          yield(%3)
        })

    Kinds: `attention` (two matmuls, a softmax and element-wise ops between them, a last transpose),
    `contraction` (one conv, matmul or conv_transpose, what follows it element by element at
    the same shape, perhaps a last `pad` with zeros; slices of what a conv reads, transposes, slices
    and broadcasts of what a matmul reads; a depthwise conv joins the conv that it alone reads from,
    where `chain` finds that faster), `reduction` (one reduction or row operation, what feeds
    only it, what follows it element by element), `pool` (and what follows), `pointwise`
    (element-wise and injective ops; a `concat` only as the last), `opaque` (any other op, alone).
    All results of a kernel have one shape, those of an opaque one excepted. Views, constants and
    control flow stay outside, and the regions of control flow are fused on their own; constants are
    operands of kernels, but those of one element are copied inside.
    """

    name: ClassVar[str] = "fuse"
    ensures: ClassVar[tuple[Property, ...]] = (ALL_IN_KERNELS,)

    max_ops: int = Limits.ops
    max_operands: int = Limits.operands

    def run(self, graph: Graph, _description: Description, /) -> Outcome:
        remove_unused(graph.body)
        made: Counter[str] = Counter()
        _fuse_block(graph.body, Limits(self.max_ops, self.max_operands), made)
        remove_unused(graph.body)  # constants that were copied into all their readers
        kernels = made.total() - made["ops"]
        if not kernels:
            return Outcome(False)
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(made.items()) if kind != "ops")
        return Outcome(
            True, f"fused {count(made['ops'], 'op')} into {count(kernels, 'kernel')} ({kinds})"
        )


def role_of(op: Op) -> Role:
    """What fusion may do with an op."""
    return _ROLES_BY_NAME.get(op.name) or _ROLES[op.definition.fusion]


def _fuse_block(block: Block, limits: Limits, made: Counter[str]) -> None:
    for op in block.ops:
        if op.name != "kernel":
            for inner in op.blocks:
                _fuse_block(inner, limits, made)
    _one_per_user(block)
    ops = block.ops
    end = block.terminator
    assert end is not None, "a block without an end cannot be fused"
    for part in group(_nodes(ops), limits):
        members = [ops[i] for i in part.members]
        if part.kind is None:
            members[0].move_before(end)
            continue
        _wrap(members, part, end)
        made[part.kind] += 1
        made["ops"] += len(members)


def _one_per_user(block: Block) -> None:
    """Gives every reader of generated data its own copy: making it is cheaper than reading it."""
    for op in block.ops:
        if op.name not in _GENERATED:
            continue
        for user, operand in op.result.uses[1:]:
            copy = Builder(op.graph, before=op).op(op.name, [], **op.attrs)
            user.set_operand(operand, copy.result)


def _nodes(ops: Sequence[Op]) -> list[Node]:
    """What `group` needs to know of a block's ops."""
    number = {op: i for i, op in enumerate(ops)}
    makers = {v: i for op, i in number.items() for v in op.results}
    reads = [[makers.get(v, -1) for v in op.operands] for op in ops]
    for i, op in enumerate(ops):
        if op.blocks and op.name != "kernel":
            reads[i] += [makers[v] for v in _captured(op) if v in makers]
    _add_sizes(ops, reads)
    return [
        Node(
            name=op.name,
            role=role_of(op),
            shape=op.results[0].type.shape if op.results else (),
            reads=tuple(reads[i]),
            escapes=any(user.is_terminator for v in op.results for user, _ in v.uses),
            zero_pad=pads_with_zeros(op) and op.result.type.rank <= _MOST_PADDED_AXES,
            widens=_widens(op),
            attends=_attends(op),
            behind=_behind(op, number),
        )
        for i, op in enumerate(ops)
    ]


def _behind(op: Op, number: Mapping[Op, int]) -> int:
    """The convolution whose kernel a depthwise convolution joins, by number; -1: none."""
    link = link_of(op)
    if link is None or link.first not in number:
        return -1
    hints = {name: sizes.typical for name, sizes in op.graph.all_symbols.items()}
    faster = is_faster(chain_of(link, lambda dim: evaluate(dim, hints)))
    return number[link.first] if faster else -1


def _widens(op: Op) -> bool:
    """Whether an op is a cast from bfloat16 or float16 to more bits, with readers to join."""
    if op.name != "cast" or op.operands[0].type.dtype not in (DType.BF16, DType.F16):
        return False
    read = [user for user, _ in op.result.uses]
    joinable = (Fusion.POINTWISE, Fusion.REDUCTION)
    return op.result.type.dtype.bits > 16 and all(
        not user.is_terminator and user.definition.fusion in joinable for user in read
    )


def _scores_gain(matmul: Op) -> bool:
    """Whether attention with these scores is faster as one kernel, as far as sizes are known: its
    keys are copied in squares of 16, and for a few rows a product alone copies none of them.
    """
    *_, rows, keys = matmul.result.type.shape
    depth = matmul.operands[0].type.shape[-1]
    if not isinstance(depth, int) or depth < _SQUARE or (isinstance(keys, int) and keys < _SQUARE):
        return False
    few = isinstance(rows, int) and rows < _FEW_ROWS
    return not few or (isinstance(keys, int) and keys % _SQUARE == 0)


def _attends(op: Op) -> bool:
    """Whether an op can be a part of attention: a float32 product of activations with a known
    head size, a softmax of rows, a transpose that keeps rows.
    """
    values = [*op.operands, *op.results]
    if any(v.type.dtype is not DType.F32 for v in values):
        return False
    if op.name == "matmul":
        left = op.operands[0]
        mixes = left.owner is not None and left.owner.name == "softmax"
        known = isinstance(op.result.type.shape[-1], int) if mixes else _scores_gain(op)
        return op.attrs["block"] == 1 and known
    if op.name == "softmax":
        return bool(op.attrs["axis"] % op.result.type.rank == op.result.type.rank - 1)
    last = op.results[0].type.rank - 1
    return op.name == "transpose" and last >= 0 and op.attrs["perm"][last] == last


def _add_sizes(ops: Sequence[Op], reads: Sequence[list[int]]) -> None:
    """Lets ops read what binds the sizes they use, so that they stay behind it."""
    binders = {name: i for i, op in enumerate(ops) for name in op.binds}
    if not binders:
        return
    for i, op in enumerate(ops):
        used = sorted(binders[name] for name in symbols_used(op) & binders.keys())
        reads[i] += [binder for binder in used if binder != i and binder not in reads[i]]


def _captured(op: Op) -> list[Value]:
    """Values that regions read from around them (and some of their own)."""
    found = []
    for block in op.blocks:
        for inner in block.ops:
            found += [*inner.operands, *_captured(inner)]
        found += block.yields
    return found


def _wrap(members: Sequence[Op], part: Group, end: Op) -> None:
    """Moves ops into a new kernel that stands before `end`."""
    graph = end.graph
    inside = set(members)
    operands = list(
        dict.fromkeys(v for op in members for v in op.operands if v.owner not in inside)
    )
    passed = [v for v in operands if not _is_single_element(v)]
    results = [
        v
        for op in members
        for v in op.results
        if op.name in _WORKS_IN_RESULTS or any(user not in inside for user, _ in v.uses)
    ]
    readers = {v: [use for use in v.uses if use[0] not in inside] for v in results}

    outer = Builder(graph, before=end).at(members)
    block = outer.block([v.type for v in passed])
    inner = Builder(graph, block=block)
    inner.yield_(results)
    last = block.terminator
    assert last is not None
    within = dict(zip(passed, block.arguments, strict=True))
    for value in operands:
        if value not in within:
            owner = value.owner
            assert owner is not None
            within[value] = (
                Builder(graph, before=last).at(owner).op("constant", [], **owner.attrs).result
            )
    for op in members:
        op.move_before(last)
        for index, value in enumerate(op.operands):
            if value in within:
                op.set_operand(index, within[value])
    kernel = outer.op("kernel", passed, [block], kind=part.kind)
    for old, new in zip(results, kernel.results, strict=True):
        for user, index in readers[old]:
            user.set_operand(index, new)


def _is_single_element(value: Value) -> bool:
    return value.constant is not None and value.type.elements == 1
