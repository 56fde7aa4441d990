"""The reference interpreter: runs a graph on NumPy arrays, op by op, as the op table specifies.

It is the yardstick that compiled results are compared with, and what evaluates ops eagerly and
while folding constants. It favours plainness over speed, but a ResNet-50 takes it only seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bireme.ir.dims import Dim, DimExpr, evaluate, symbols_of
from bireme.ir.dtypes import DType
from bireme.ir.errors import BiremeError
from bireme.ir.graph import Graph, SymbolRange
from bireme.ir.opdef import Array, AttrKind, Attrs, OpDef
from bireme.ir.ops import OPS
from bireme.ir.philox import draw_key
from bireme.ir.types import TensorType
from bireme.ir.views import Block, Op, Value

# Called with every value as it is made, and its data; an array that it gives stands in for them.
Trace = Callable[[Value, Array], "Array | None"]


def run(
    graph: Graph,
    inputs: Mapping[str, Array],
    *,
    trace: Trace | None = None,
    seed: int = 0,
    run_number: int = 0,
) -> dict[str, Array]:
    """Outputs of `graph` by name.

    `inputs` are arrays by input name, of exactly the declared element types. `trace` sees every
    value, the inputs first, values in regions once for every time they are made; what it returns,
    unless None, is what later ops read. Random numbers are those of run `run_number`, from 0 on, of
    a session with this seed. Raises BM6003 when inputs do not fit, or when data does not
    (an index out of range).
    """
    arrays = [_checked_input(inputs, v, n) for v, n in _named_inputs(graph, inputs)]
    sizes = bind_symbols(graph, inputs)
    machine = _Machine(graph, sizes, trace, _Draws(seed, run_number))
    with np.errstate(all="ignore"):
        results = machine.run_main(arrays)
    return dict(zip(graph.output_names, results, strict=True))


def run_op(name: str, inputs: Sequence[Array], attrs: Attrs | None = None) -> list[Array]:
    """Results of one op without regions; attributes left out take their defaults.

    Raises what the op's type rule raises, and BM2007 for an attribute with a symbolic size.
    """
    definition = OPS[name]
    complete = evaluated(definition, definition.complete(attrs or {}), {})
    arrays = [np.asarray(x) for x in inputs]
    definition.result_types([TensorType(DType.of(x), x.shape) for x in arrays], complete)
    with np.errstate(all="ignore"):
        return [np.asarray(x) for x in definition.reference(arrays, complete)]


def evaluated(definition: OpDef, attrs: Attrs, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Complete attributes with every dimension a number.

    Raises BM2007 for a symbol without a size.
    """
    kinds = {a.name: a.kind for a in definition.attrs}
    return {
        name: tuple(evaluate(d, sizes) for d in value) if kinds[name] is AttrKind.DIMS else value
        for name, value in attrs.items()
    }


# --- binding ------------------------------------------------------------------------------------


def _named_inputs(graph: Graph, inputs: Mapping[str, Array]) -> list[tuple[Value, str]]:
    names = graph.input_names
    missing = [n for n in names if n not in inputs]
    unknown = [n for n in inputs if n not in names]
    if missing or unknown:
        faults = [f"{n!r} is missing" for n in missing] + [f"{n!r} is unknown" for n in unknown]
        raise BiremeError("BM6003", f"{'; '.join(faults)}; the model has {', '.join(names)}")
    return list(zip(graph.inputs, names, strict=True))


def _checked_input(inputs: Mapping[str, Array], value: Value, name: str) -> Array:
    """The array of an input, its element type and rank checked."""
    array = np.asarray(inputs[name])
    wanted = value.type
    if array.dtype != wanted.dtype.numpy or array.ndim != wanted.rank:
        found = f"{array.dtype}[{', '.join(map(str, array.shape))}]"
        raise BiremeError("BM6003", f"expected {wanted}; found {found}", where=name)
    return array


def bind_symbols(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, int]:
    """Sizes of the graph's symbols, from the shapes of its inputs (all of the right rank).

    Raises BM6003, naming input and dimension, for sizes that contradict a number, each other, the
    symbol's range, or what an op assumes.
    """
    found = {
        f"{name}, dimension {axis}": (dim, int(size))
        for name, value in zip(graph.input_names, graph.inputs, strict=True)
        for axis, (dim, size) in enumerate(
            zip(value.type.shape, np.shape(inputs[name]), strict=True)
        )
    }
    sizes: dict[str, int] = {}
    # Plain symbols first; then, as long as that finds any, expressions with one unknown left.
    for place, (dim, size) in found.items():
        if symbols_of(dim) == {str(dim)}:
            _solve(dim, size, sizes, place)
    before = -1
    while before != len(sizes):
        before = len(sizes)
        for place, (dim, size) in found.items():
            _solve(dim, size, sizes, place)
    for place, (dim, size) in found.items():
        expected = evaluate(dim, sizes)
        if expected != size:
            text = str(dim) if isinstance(dim, int) else f"{dim} = {expected}"
            raise BiremeError("BM6003", f"expected {text}; found {size}", where=place)
    _check_ranges(graph.symbols, sizes, {dim: place for place, (dim, _) in found.items()})
    return sizes


def _solve(dim: Dim, size: int, sizes: dict[str, int], place: str) -> None:
    """Sets the symbol of a dimension that is linear in one symbol without a size yet."""
    unknown = symbols_of(dim) - set(sizes)
    if len(unknown) != 1 or not isinstance(dim, DimExpr):
        return
    (name,) = unknown
    # Whatever the known symbols are, dim = rest + slope * unknown if it is linear.
    rest = evaluate(dim, {**sizes, name: 0})
    slope = evaluate(dim, {**sizes, name: 1}) - rest
    value, remainder = divmod(size - rest, slope) if slope else (0, 1)
    if remainder or value < 0 or evaluate(dim, {**sizes, name: value}) != size:
        raise BiremeError("BM6003", f"no {name} makes {dim} equal to {size}", where=place)
    sizes[name] = value


def _check_ranges(
    ranges: Mapping[str, SymbolRange], sizes: Mapping[str, int], places: Mapping[Dim, str]
) -> None:
    for name, allowed in ranges.items():
        size = sizes[name]
        if size < allowed.least or (allowed.most is not None and size > allowed.most):
            most = "any number" if allowed.most is None else allowed.most
            where = next(p for d, p in places.items() if name in symbols_of(d))
            raise BiremeError(
                "BM6003", f"{name} is {size}; allowed are {allowed.least} to {most}", where=where
            )


# --- running ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Step:
    """One op, made ready: attributes evaluated, values as slots of the machine's memory."""

    op: Op
    definition: OpDef
    attrs: Attrs
    operands: tuple[int, ...]
    results: tuple[int, ...]
    regions: tuple[_Code, ...]
    # Slots that nothing reads after this step.
    dead: tuple[int, ...]
    fault: BiremeError | None
    late: bool  # attributes and fault depend on sizes that the data decides


@dataclass(frozen=True)
class _Code:
    """A block, made ready."""

    arguments: tuple[int, ...]
    steps: tuple[_Step, ...]
    yields: tuple[int, ...]


@dataclass(frozen=True)
class _Region:
    """A region as a reference sees it (`bireme.ir.opdef.Region`)."""

    yields: tuple[TensorType, ...]
    body: Callable[[Sequence[Array]], list[Array]]

    def __call__(self, *inputs: Array) -> list[Array]:
        return self.body(inputs)


class _Draws:
    """The keys that the `random_key` ops of one run give."""

    def __init__(self, seed: int, run_number: int) -> None:
        self._seed = seed
        self._run_number = run_number
        self._counts: Counter[Op] = Counter()

    def key(self, op: Op) -> Array:
        """The key for the next execution of an op."""
        stream, draw = op.attrs["stream"], self._counts[op]
        self._counts[op] += 1
        if stream == 0:
            return draw_key(op.attrs["seed"], 0, 0, draw)
        return draw_key(self._seed, self._run_number, stream, draw)


class _Machine:
    """Memory and code of one run."""

    def __init__(
        self, graph: Graph, sizes: Mapping[str, int], trace: Trace | None, draws: _Draws
    ) -> None:
        self._graph = graph
        self._sizes = dict(sizes)
        self._data_symbols = set(graph.data_symbols)
        self._trace = trace
        self._draws = draws
        self._slots: dict[Value, int] = {}
        self._values: list[Value] = []
        self._memory: dict[int, Array] = {}
        self._code = self._ready(graph.body, release=True)

    def run_main(self, inputs: Sequence[Array]) -> list[Array]:
        return [np.asarray(x, order="C") for x in self._run(self._code, inputs)]

    def _slot(self, value: Value) -> int:
        if value not in self._slots:
            self._slots[value] = len(self._values)
            self._values.append(value)
        return self._slots[value]

    def _ready(self, block: Block, *, release: bool = False) -> _Code:
        arguments = tuple(map(self._slot, block.arguments))
        steps = [self._ready_op(op) for op in block.ops]
        yields = tuple(map(self._slot, block.yields))
        if release:
            steps = _with_releases(steps, keep=set(yields))
        return _Code(arguments, tuple(steps), yields)

    def _ready_op(self, op: Op) -> _Step:
        operands = tuple(map(self._slot, op.operands))
        regions = tuple(map(self._ready, op.blocks))
        results = tuple(map(self._slot, op.results))
        if self._is_late(op):
            attrs: Attrs = op.attrs
            return _Step(op, op.definition, attrs, operands, results, regions, (), None, True)
        attrs = evaluated(op.definition, op.attrs, self._sizes)
        fault = self._fault(op)
        return _Step(op, op.definition, attrs, operands, results, regions, (), fault, False)

    def _is_late(self, op: Op) -> bool:
        """Whether sizes of the op are known only while the model runs."""
        if not self._data_symbols:
            return False
        dims = [d for v in (*op.operands, *op.results) for d in v.type.shape]
        for attr in op.definition.attrs:
            if attr.kind is AttrKind.DIMS:
                dims += op.attrs[attr.name]
        return any(symbols_of(d) & self._data_symbols for d in dims)

    def _fault(self, op: Op) -> BiremeError | None:
        """Why the op cannot run on these sizes; it matters only if the op is reached."""
        for constraint in op.constraints:
            a, b = evaluate(constraint.a, self._sizes), evaluate(constraint.b, self._sizes)
            if a != b:
                detail = f"sizes {constraint.a} = {a} and {constraint.b} = {b} must be equal"
                return BiremeError("BM6003", detail)
        for value in op.results:
            for dim in value.type.shape:
                size = evaluate(dim, self._sizes)
                if size < 0:
                    return BiremeError("BM6003", f"size {dim} of {value.type} would be {size}")
        return None

    def _run(self, code: _Code, inputs: Sequence[Array]) -> list[Array]:
        self._store(code.arguments, inputs)
        for step in code.steps:
            self._store(step.results, self._results(step))
            for slot in step.dead:
                self._memory.pop(slot, None)
        return [self._memory[slot] for slot in code.yields]

    def _results(self, step: _Step) -> Sequence[Array]:
        if step.op.name == "constant":
            return [self._graph.weight(step.attrs["name"], step.op.result.type)]
        if step.op.name == "random_key":
            return [self._draws.key(step.op)]
        operands = [self._memory[slot] for slot in step.operands]
        attrs, fault = step.attrs, step.fault
        try:
            if step.op.name == "prefix":
                (rows,) = step.definition.reference(operands, attrs)
                self._sizes[attrs["symbol"]] = rows.shape[0]
                return [rows]
            if step.op.name == "bind":
                self._bind(step.op, operands)
                return []
            if step.late:
                attrs = evaluated(step.definition, attrs, self._sizes)
                fault = self._fault(step.op)
            if fault is not None:
                raise fault
            if step.regions:
                regions = [self._region(code) for code in step.regions]
                return step.definition.reference(operands, attrs, regions)
            return step.definition.reference(operands, attrs)
        except BiremeError as error:
            raise error.at(step.op.node or step.op.name) from None

    def _bind(self, op: Op, operands: Sequence[Array]) -> None:
        attrs = op.attrs
        most = [evaluate(dim, self._sizes) for dim in attrs["most"]]
        op.definition.reference(operands, {**attrs, "most": most})
        self._sizes.update(zip(attrs["symbols"], operands[0].ravel().tolist(), strict=True))
        fault = self._fault(op)
        if fault is not None:
            raise fault

    def _region(self, code: _Code) -> _Region:
        yields = tuple(self._static(self._values[slot].type) for slot in code.yields)
        return _Region(yields, lambda inputs: self._run(code, inputs))

    def _static(self, tensor: TensorType) -> TensorType:
        return tensor.with_shape([evaluate(d, self._sizes) for d in tensor.shape])

    def _store(self, slots: Sequence[int], arrays: Sequence[Array]) -> None:
        for slot, array in zip(slots, arrays, strict=True):
            self._memory[slot] = np.asarray(array)
            if self._trace is not None:
                other = self._trace(self._values[slot], self._memory[slot])
                if other is not None:
                    self._memory[slot] = other


def _reads(step: _Step) -> set[int]:
    """Slots that a step reads, those read in its regions included."""
    found = set(step.operands)
    for code in step.regions:
        found |= set(code.yields).union(*map(_reads, code.steps))
    return found


def _with_releases(steps: Sequence[_Step], keep: set[int]) -> list[_Step]:
    """The steps of the function, each dropping the values that it is the last to use."""
    seen = set(keep)
    released = []
    for step in reversed(steps):
        used = _reads(step) | set(step.results)
        released.append(replace(step, dead=tuple(used - seen)))
        seen |= used
    return released[::-1]
