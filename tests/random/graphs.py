"""The strategy: small random graphs over the dialect. A table has the maker of each op."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from bireme.ir import DType, TensorType
from bireme.passes.rewrite import remove_unused
from tests.random import data_sized, elementwise, layers, moves, reductions
from tests.random.example import Example, Fill
from tests.random.net import DTYPES, Held, Net

Maker = Callable[[Net, str], Sequence[Held]]
SIZES = (2, 1, 3, 5, 4, 8, 7, 16, 17, 0)
# Loops run as often as this, regions hold as many ops.
_MOST_STEPS = 3


def _body(net: Net, x: Held) -> Held:
    """A value of the type of `x`, from a few ops in the net of a region."""
    _several(net, _MOST_STEPS)
    found = net.pick([x.dtype], lambda t: t == x.type)
    return found or like(net, x.type)


def like(net: Net, tensor: TensorType) -> Held:
    """A value of this very type."""
    scalar = elementwise.constant(net, tensor.dtype, 1)
    held = net.emit("expand", [scalar], shape=tensor.shape)
    return held[0]


def if_(net: Net, name: str) -> list[Held]:
    condition = net.pick([DType.BOOL], lambda t: t.rank == 0) or net.leaf(DType.BOOL, ())
    blocks, exact = [net.builder.block(), net.builder.block()], True
    inner = net.inside(blocks[0], [])
    results: list[Held] = []
    for _ in range(net.number(1, 2)):
        _several(inner, _MOST_STEPS)
        results.append(_any(inner))
    inner.builder.yield_([r.value for r in results])
    other = net.inside(blocks[1], [])
    others = [_body(other, r) for r in results]
    other.builder.yield_([r.value for r in others])
    exact = all(r.exact for r in (*results, *others))
    return net.hold(net.builder.op("if", [condition.value], blocks), exact)


def _any(net: Net) -> Held:
    found = net.pick()
    assert found is not None
    return found


def while_(net: Net, name: str) -> list[Held]:
    """Counts to a number below 5; carries one or two more values."""
    count = net.leaf(DType.I64, (), Fill("range", 0, 5))
    carried = [count, *(_any(net) for _ in range(net.number(1, 2)))]
    types = [c.type for c in carried]
    exact = [c.exact for c in carried]
    condition, body = net.builder.block(types), net.builder.block(types)
    inner = net.inside(condition, [False] * len(types))
    limit = elementwise.constant(inner, DType.I64, 5)
    counter = Held(condition.arguments[0], True)
    inner.builder.yield_([h.value for h in inner.emit("less", [counter, limit])])
    inner = net.inside(body, [False] * len(types))
    counter = Held(body.arguments[0], True)
    (counter,) = inner.emit("add", [counter, elementwise.constant(inner, DType.I64, 1)])
    results = [counter, *(_body(inner, c) for c in carried[1:])]
    inner.builder.yield_([r.value for r in results])
    op = net.builder.op("while", [c.value for c in carried], [condition, body])
    return net.hold(op, all(exact) and all(r.exact for r in results))


def scan(net: Net, name: str) -> list[Held]:
    """Over one or two sequences, with up to two carried values."""
    first = net.ranked(DTYPES, 1)
    length = first.shape[0]
    sequences = [first]
    if net.flag():
        other = net.pick(test=lambda t: t.rank > 0 and t.shape[0] == length)
        sequences.append(other or net.leaf(DType.F32, (length, *net.shape(0, 1))))
    carried = [_any(net) for _ in range(net.number(0, 2))]
    types = [c.type for c in carried] + [s.type.with_shape(s.shape[1:]) for s in sequences]
    body = net.builder.block(types)
    inner = net.inside(body, [False] * len(carried) + [s.exact for s in sequences])
    results = [_body(inner, c) for c in carried]
    _several(inner, _MOST_STEPS)
    results += [_any(inner) for _ in range(net.number(0, 2))]
    if not results:
        results.append(_any(inner))
    inner.builder.yield_([r.value for r in results])
    operands = [h.value for h in (*carried, *sequences)]
    op = net.builder.op("scan", operands, [body], carries=len(carried), reverse=net.flag())
    return net.hold(op, all(r.exact for r in (*results, *carried)))


_CONTROL: dict[str, Maker] = {"if": if_, "while": while_, "scan": scan}
# Each family as often as it is listed, each op of a family as often as the others.
_FAMILIES: tuple[Mapping[str, Maker], ...] = (
    elementwise.MAKERS, moves.MAKERS, elementwise.MAKERS, reductions.MAKERS, moves.MAKERS,
    layers.MAKERS, _CONTROL, data_sized.MAKERS, elementwise.MAKERS, moves.MAKERS,
)  # fmt: skip
MAKERS = {name: maker for family in _FAMILIES for name, maker in family.items()}
# Made by the makers of leaves, and by the pass `fuse`.
NOT_DRAWN = frozenset({"constant", "kernel"})


def _several(net: Net, most: int, least: int = 0) -> None:
    """Draws up to `most` ops. A failing example drops any that it can do without."""
    for number in range(most):
        if number >= least and net.draw(_STOPS):
            break
        net.draw(_steps(net))


def _steps(net: Net) -> st.SearchStrategy[Any]:
    """An op drawn as a unit, so that it can be dropped as one."""
    return st.builds(add_op, st.just(net))


# In one of eight cases.
_STOPS = st.integers(0, 7).map(lambda n: n == 0)


def add_op(net: Net) -> None:
    """Draws an op and its operands."""
    left_out = (_CONTROL,) * (net.depth > 0) + (layers.MAKERS, data_sized.MAKERS) * net.special
    family = net.choose([f for f in _FAMILIES if f not in left_out])
    name = net.choose(list(family))
    family[name](net, name)


@st.composite
def examples(draw: Any, *, most_ops: int = 8, op: str = "") -> Example:
    """A graph of 1 to `most_ops` drawn ops, with what it is run on; one of them is `op`.

    In some graphs without `op` floats are NaN or infinite here and there.
    """
    sizes = tuple(
        {"n": draw(st.sampled_from(SIZES)), "m": draw(st.sampled_from(SIZES))}
        for _ in range(draw(st.integers(1, 2)))
    )
    net = Net(draw, sizes)
    net.special = not op and net.number(0, 4) == 4
    _several(net, most_ops // 2)
    if op:
        MAKERS[op](net, op)
    _several(net, most_ops // 2, least=0 if op else 1)
    _set_outputs(net)
    used = net.graph.symbols
    kept = tuple({name: s[name] for name in used} for s in sizes)
    return Example(net.graph.text(), net.fills, kept, draw(st.integers(0, 1 << 16)))


def _set_outputs(net: Net) -> None:
    """Whatever nothing reads, and some values besides: inputs, constants, one value twice.

    A failing example gets one output, if that fails too, and only what that output needs.
    """
    held = [h.value for h in net.pool]
    outputs = [v for v in held if not v.uses]
    if net.number(0, 9) == 0:
        outputs = [net.choose(outputs)]
    elif net.number(0, 5) == 5:
        outputs.append(net.choose(held))
    net.graph.set_outputs([(f"y{i}", v) for i, v in enumerate(outputs)])
    remove_unused(net.graph.body)
