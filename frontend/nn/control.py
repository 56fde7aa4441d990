"""Control flow that stays in the graph: `cond`, `while_loop`, `scan` (the forms JAX has)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bireme.frontend.nn.dispatch import TRACER, Source, is_symbolic, place
from bireme.frontend.nn.functional.shapes import stack
from bireme.frontend.nn.tensor import Tensor, TensorLike, tensor
from bireme.frontend.nn.tree import leaves, rebuild
from bireme.ir import BiremeError, TensorType, Value


def _sources(tree: Any) -> list[Source]:
    return [leaf.source for leaf in leaves(tree)]


def _tensors(values: list[Value]) -> list[Tensor]:
    return [Tensor.of(v) for v in values]


class _Form:
    """Runs a function while a region is filled, and remembers the form of what it gave."""

    def __init__(self, function: Callable[[list[Value]], Any]) -> None:
        self._function = function
        self.tree: Any = None

    def __call__(self, arguments: list[Value]) -> list[Source]:
        self.tree = self._function(arguments)
        return _sources(self.tree)


def cond(
    predicate: TensorLike, then: Callable[..., Any], other: Callable[..., Any], *operands: Any
) -> Any:
    """`then(*operands)` if the predicate (a bool scalar) holds, else `other(*operands)`.

    Both give the same nest of tensors, of the same types.
    """
    choice = tensor(predicate)
    tracer = TRACER.get()
    if tracer is None or not is_symbolic([choice.source]):
        return (then if bool(choice) else other)(*operands)
    forms = [_Form(lambda _: then(*operands)), _Form(lambda _: other(*operands))]
    regions = [tracer.region([], form) for form in forms]
    results = tracer.add("if", [choice.source], {}, regions)
    return rebuild(forms[0].tree, iter(_tensors(results)))


def while_loop(
    condition: Callable[[Any], TensorLike], body: Callable[[Any], Any], carried: Any
) -> Any:
    """Repeats `carried = body(carried)` while `condition(carried)` (a bool scalar) holds.

    `carried` is a nest of tensors; the body keeps its form and types.
    """
    tracer = TRACER.get()
    if tracer is None:
        carried = rebuild(carried, iter(leaves(carried)))
        while bool(tensor(condition(carried))):
            carried = body(carried)
        return carried
    start = _sources(carried)
    types = [s.type for s in map(Tensor.of, start)]

    def unpack(values: list[Value]) -> Any:
        return rebuild(carried, iter(_tensors(values)))

    regions = [
        tracer.region(types, lambda values: _sources(condition(unpack(values)))),
        tracer.region(types, lambda values: _sources(body(unpack(values)))),
    ]
    return unpack(tracer.add("while", start, {}, regions))


def scan(
    body: Callable[[Any, Any], tuple[Any, Any]], carried: Any, xs: Any, reverse: bool = False
) -> tuple[Any, Any]:
    """`carried, y = body(carried, x)` for each slice x along the leading axis of `xs`.

    Gives the last carried values and the ys stacked along a new leading axis. `reverse` runs from
    the last slice to the first; each y stays at its slice's place.
    """
    tracer = TRACER.get()
    start, rows = leaves(carried), leaves(xs)
    if not rows or any(row.ndim == 0 for row in rows):
        raise BiremeError("BM1008", "scan needs a tensor with a leading axis", where=place())
    if tracer is None:
        return _scan_now(body, rebuild(carried, iter(start)), xs, rows, reverse)
    types = [t.type for t in start] + [TensorType(r.dtype, r.shape[1:]) for r in rows]

    def step(values: list[Value]) -> tuple[Any, Any]:
        tensors = _tensors(values)
        return body(
            rebuild(carried, iter(tensors[: len(start)])), rebuild(xs, iter(tensors[len(start) :]))
        )

    form = _Form(step)
    region = tracer.region(types, form)
    attrs = {"carries": len(start), "reverse": reverse}
    results = _tensors(tracer.add("scan", [t.source for t in [*start, *rows]], attrs, [region]))
    last, ys = form.tree
    return rebuild(last, iter(results[: len(start)])), rebuild(ys, iter(results[len(start) :]))


def _scan_now(
    body: Callable[[Any, Any], tuple[Any, Any]],
    carried: Any,
    xs: Any,
    rows: list[Tensor],
    reverse: bool,
) -> tuple[Any, Any]:
    steps = list(range(len(rows[0])))
    if not steps:
        raise BiremeError(
            "BM1008",
            "an eager scan needs at least one step",
            where=place(),
            hint="trace the module: the graph's scan may have none",
        )
    found: list[Any] = [None] * len(steps)
    for step in reversed(steps) if reverse else steps:
        carried, found[step] = body(carried, rebuild(xs, iter(row[step] for row in rows)))
    columns = zip(*(leaves(y) for y in found), strict=True)
    return carried, rebuild(found[0], iter([stack(column) for column in columns]))
