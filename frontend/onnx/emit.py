"""Values while a model is imported, and the maker of ops that computes what is already known.

A `Tensor` is a value of the graph, or data that the importer knows: numbers, or sizes (dimension
expressions) from shape arithmetic. `Emitter` has the dialect's ops as methods on Tensors: an op
whose operands are all known is computed at once, any other becomes an op of the graph. Shape
arithmetic thus never reaches the graph, unless its result is used as data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bireme.frontend.onnx.bounds import Bounds
from bireme.frontend.onnx.inputs import identifier
from bireme.frontend.onnx.symbolic import (
    UNKNOWN,
    Ratio,
    Symbolic,
    UndecidedError,
    object_array,
    settled,
)
from bireme.ir import (
    OPS,
    Array,
    BiremeError,
    Block,
    Builder,
    Dim,
    DimExpr,
    DType,
    Graph,
    Op,
    TensorType,
    Value,
    symbol,
)
from bireme.ir.dims import symbols_of

# Results up to this many elements are computed at import; constant folding does the others.
_FOLD_LIMIT = 1 << 16
_SYMBOLIC_LIMIT = 1 << 10
# Elements are followed one by one in tensors up to this size: those that hold shapes.
_PARTS_LIMIT = 1 << 5
# Operands may be larger (a row of a table of weights), but not repeated data without memory.
_OPERAND_LIMIT = 1 << 28
# These move no data in NumPy.
_FREE = frozenset({"reshape"})


class Tensor:
    """A tensor of the model being imported.

    `known` is its data where that is known: an array of the element type, or an object array of
    dimension expressions and numbers. `value` is its place in the graph, if it has one by now.
    `parts` is its data where only some elements are known, the others UNKNOWN.
    `guess` marks what comes from the stand-in for a refused node's result. `items` is None but for
    a sequence, which has a type only for form's sake; an item that is `stacked` stands for as many
    as it has rows.
    """

    __slots__ = ("guess", "items", "known", "name", "parts", "stacked", "type", "value")

    def __init__(
        self,
        tensor: TensorType,
        value: Value | None = None,
        known: Array | None = None,
        name: str = "",
    ) -> None:
        self.type = tensor
        self.value = value
        self.known = known
        self.name = name
        self.parts: Array | None = None
        self.guess = False
        self.items: list[Tensor] | None = None
        self.stacked = False

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def shape(self) -> tuple[Dim, ...]:
        return self.type.shape

    @property
    def rank(self) -> int:
        return self.type.rank

    @property
    def array(self) -> Array | None:
        """Its data as numbers, or None."""
        return None if self.known is None or self.known.dtype == object else self.known

    @property
    def sizes(self) -> list[Dim | None]:
        """Its elements as dimensions, in order, None for those that are not known. Its shape is."""
        if self.dims is not None:
            return list(self.dims)
        count = math.prod(self.type.static_shape)
        elements = [UNKNOWN] * count if self.parts is None else self.parts.ravel().tolist()
        return [e if isinstance(e, int | DimExpr) else None for e in elements]

    @property
    def dims(self) -> list[Dim] | None:
        """Its elements as dimensions, in order, or None."""
        if self.known is None or (self.known.dtype != object and self.known.dtype.kind not in "iu"):
            return None
        elements = self.known.ravel().tolist()
        return elements if all(isinstance(e, int | DimExpr) for e in elements) else None


def data(array: Any, name: str = "") -> Tensor:
    """A tensor of known data."""
    array = np.asarray(array)
    return Tensor(TensorType(DType.of(array), array.shape), known=array, name=name)


def sizes(dims: Sequence[Dim], dtype: DType = DType.I64) -> Tensor:
    """A vector of sizes."""
    known = settled(object_array(list(dims), (len(dims),)), dtype)
    return Tensor(TensorType(dtype, (len(dims),)), known=known)


def sequence(items: Sequence[Tensor]) -> Tensor:
    """A sequence of tensors."""
    result = Tensor(TensorType(DType.BOOL, ()))
    result.items = list(items)
    return result


def stacked(tensor: Tensor) -> Tensor:
    """The rows of `tensor` as items of a sequence."""
    result = Tensor(tensor.type, tensor.value, tensor.known, tensor.name)
    result.guess, result.stacked = tensor.guess, True
    return result


def scalar(value: Any, dtype: DType) -> Tensor:
    """A known scalar of the given type."""
    return data(_number(value, dtype))


class Emitter:
    """Makes ops in one block. Ops of the dialect are methods; Python numbers take the type of the
    first Tensor operand.
    """

    def __init__(self, graph: Graph, bounds: Bounds, block: Block | None = None) -> None:
        self.graph = graph
        self.bounds = bounds
        self._symbolic = Symbolic(bounds)
        self._always = block is None
        self._node = ""
        # Sizes that the data decides: those with a value here, and of them those of regions alone.
        self.known_sizes: set[str] = set()
        self._inner_sizes: set[str] = set()
        self._builder = Builder(graph, block=block)
        self._root = Builder(graph)

    def inner(self, block: Block, node: str) -> Emitter:
        """An emitter into the block of a region."""
        inner = Emitter(self.graph, self.bounds, block).at(node)
        inner.known_sizes |= self.known_sizes
        inner._inner_sizes |= self._inner_sizes
        return inner

    def at(self, node: str) -> Emitter:
        """Sets the source of the ops made from here on."""
        self._node = node
        self._builder.at(node)
        self._root.at(node)
        return self

    def op(self, name: str, operands: Sequence[Any], **attrs: Any) -> list[Tensor]:
        """Makes or computes op `name`."""
        tensors = self._tensors(operands, skip=1 if name == "where" else 0)
        if tensors and all(t.known is not None for t in tensors):
            folded = self._fold(name, tensors, attrs)
            if folded is not None:
                return folded
        made = self._builder.op(name, [self.value(t) for t in tensors], **attrs)
        results = _results(made, tensors)
        if len(results) == 1:
            results[0].parts = self._parts(name, tensors, made.attrs, results[0].type)
        return results

    def region(
        self, name: str, operands: Sequence[Tensor], blocks: Sequence[Block], **attrs: Any
    ) -> list[Tensor]:
        """Makes an op with regions."""
        values = [self.value(t) for t in operands]
        made = self._builder.op(name, values, blocks, **attrs)
        results = _results(made, operands)
        for size in sorted(self.data_sizes(*(t.type for t in results)) - self.known_sizes):
            made.erase()
            raise BiremeError(
                "BM1003",
                f"the data decides the size {size} inside of a branch or a loop's body, and a "
                "result outside depends on it",
                hint="give the results of both branches, or of all steps, one shape",
            )
        return results

    def prefix(self, x: Tensor, count: Tensor) -> Tensor:
        """The first `count` rows of `x`; the number of rows is a new symbol, named for the node."""
        if count.dims is not None:
            ends = (count.dims[0], *x.shape[1:])
            return self.slice(x, starts=(0,) * x.rank, sizes=ends, steps=(1,) * x.rank)
        name = self.bounds.add(identifier(self._node) or "count", x.shape[0])
        self.known_sizes.add(name)
        self._inner_sizes |= set() if self._always else {name}
        (result,) = self.op("prefix", [x, count], symbol=name)
        return result

    def bind(
        self,
        counts: Tensor,
        most: Sequence[Dim],
        equal: Callable[[list[Dim]], Sequence[Dim]] = lambda _: (),
    ) -> list[Dim]:
        """The elements of a scalar or vector as sizes, at most `most`, named for the node.

        `equal` gives pairs of sizes, one by one, that must turn out to be the same.
        """
        if counts.dims is not None:
            return counts.dims
        stem = identifier(self._node) or "size"
        names = [self.bounds.add(stem, each) for each in most]
        self.known_sizes |= set(names)
        self._inner_sizes |= set() if self._always else set(names)
        found: list[Dim] = [symbol(name) for name in names]
        pairs = tuple(equal(found))
        self.op("bind", [counts], symbols=names, most=tuple(most), equal=pairs)
        self.bounds.equalities += zip(pairs[::2], pairs[1::2], strict=True)
        return found

    def data_sizes(self, *tensors: TensorType) -> set[str]:
        """Symbols of sizes that the data decides, in types."""
        return set().union(*(t.symbols for t in tensors)) & self.bounds.data_sizes.keys()

    def block(self, arguments: Sequence[TensorType] = ()) -> Block:
        """A detached block for a region."""
        return self._builder.block(arguments)

    def require(self, dim: Dim, least: int) -> None:
        """Notes that `dim >= least` in every run that succeeds, unless here is a region, which may
        not run. Then what follows from that is known, and said in the ranges of symbols.
        """
        if self._always:
            self.bounds.require(dim, least)

    def discard_blocks(self) -> None:
        """Drops blocks that no op took: of loops that were imported a second time, another way."""
        spare = [
            op.operation
            for op in self.graph.module.body.operations
            if op.operation.name == "builtin.module"
        ]
        for operation in reversed(spare):  # a later block may read an earlier one's values
            operation.erase()

    def end(self, results: Sequence[Tensor]) -> None:
        """Ends the emitter's block by yielding `results`."""
        self._builder.yield_([self.value(t) for t in results])

    def value(self, tensor: Tensor) -> Value:
        """The tensor in the graph. Known data becomes a constant at the top of the graph."""
        if tensor.items is not None:
            raise BiremeError("BM1003", "a sequence leaves the model or goes into a loop")
        if tensor.value is not None:
            return tensor.value
        if self._inner_sizes and not self._inner_sizes.isdisjoint(_symbols(tensor)):
            return self._materialise(tensor, self._builder)  # of no use outside of the region
        tensor.value = self._materialise(tensor, self._root)
        return tensor.value

    def __getattr__(self, name: str) -> Callable[..., Tensor]:
        if name not in OPS:
            raise AttributeError(name)

        def make(*operands: Any, **attrs: Any) -> Tensor:
            (result,) = self.op(name, operands, **attrs)
            return result

        return make

    def _tensors(self, operands: Sequence[Any], skip: int) -> list[Tensor]:
        """The operands, numbers in the type of the first Tensor after the first `skip`."""
        like = next((t.dtype for t in operands[skip:] if isinstance(t, Tensor)), None)
        result = []
        for operand in operands:
            if not isinstance(operand, Tensor):
                dtype = (
                    None if isinstance(operand, np.ndarray | np.generic) or like is None else like
                )
                array = np.asarray(operand) if dtype is None else _number(operand, dtype)
                operand = data(array)
            result.append(operand)
        return result

    def _fold(self, name: str, tensors: list[Tensor], attrs: dict[str, Any]) -> list[Tensor] | None:
        definition = OPS[name]
        complete = definition.complete(attrs)
        types = definition.result_types([t.type for t in tensors], complete)
        if any(not t.is_static for t in types) or definition.regions:
            return None
        elements = sum(int(np.prod(t.static_shape, dtype=object)) for t in types)
        arrays = [t.known for t in tensors if t.known is not None]
        if all(a.dtype != object for a in arrays):
            symbolic = any(isinstance(d, DimExpr) for v in complete.values()
                           if isinstance(v, tuple) for d in v)  # fmt: skip
            large = elements > _FOLD_LIMIT or sum(a.size for a in arrays) > _OPERAND_LIMIT
            if symbolic or (large and name not in _FREE):
                return None
            with np.errstate(all="ignore"):
                results = definition.reference(arrays, complete)
            return [Tensor(t, known=np.asarray(r)) for t, r in zip(types, results, strict=True)]
        if elements > _SYMBOLIC_LIMIT or len(types) != 1:
            return None
        try:
            objects = [a if a.dtype == object else a.astype(object) for a in arrays]
            found = self._symbolic.run(name, objects, complete, types[0].dtype)
        except UndecidedError:
            return None
        return [Tensor(types[0], known=settled(found, types[0].dtype))]

    def _parts(
        self, name: str, tensors: Sequence[Tensor], attrs: dict[str, Any], result: TensorType
    ) -> Array | None:
        """The elements of a small result that are known although others are not."""
        if not result.dtype.is_integer and result.dtype is not DType.BOOL:
            return None
        types = [result, *(t.type for t in tensors)]
        if not tensors or not all(t.is_static for t in types):
            return None
        if sum(math.prod(t.static_shape) for t in types) > _PARTS_LIMIT * len(types):
            return None
        arrays = [_elements(t) for t in tensors]
        if all(e is UNKNOWN for a in arrays for e in a.ravel()):
            return None
        return self._symbolic.partly(name, arrays, attrs, result.dtype)

    def _materialise(self, tensor: Tensor, builder: Builder) -> Value:
        known = tensor.known
        assert known is not None
        if known.dtype != object:
            return builder.constant(known, tensor.name)
        elements = known.ravel().tolist()
        ratios = [e if isinstance(e, Ratio) else Ratio(e, 1) for e in elements]
        if any(isinstance(r.top, float) for r in ratios):
            ratios = [Ratio(*r.top.as_integer_ratio()) if isinstance(r.top, float) else r
                      for r in ratios]  # fmt: skip
        value: Value = builder.dim_values(values=tuple(r.top for r in ratios))
        if tensor.rank != 1:
            value = builder.reshape(value, shape=tensor.shape)
        if tensor.dtype is not DType.I64:
            value = builder.cast(value, dtype=tensor.dtype)
        if any(r.bottom != 1 for r in ratios):
            bottoms = np.array([r.bottom for r in ratios], tensor.dtype.numpy)
            value = builder.div(value, builder.constant(bottoms.reshape(known.shape)))
        return value


def _elements(tensor: Tensor) -> Array:
    """An object array of what is known of a tensor."""
    if tensor.known is not None:
        return tensor.known.astype(object)
    if tensor.parts is not None:
        return tensor.parts
    shape = tensor.type.static_shape
    return object_array([UNKNOWN] * math.prod(shape), shape)


def _symbols(tensor: Tensor) -> set[str]:
    """Symbols in the data of a known tensor."""
    if tensor.known is None or tensor.known.dtype != object:
        return set()
    parts = [e.top if isinstance(e, Ratio) else e for e in tensor.known.ravel().tolist()]
    return set().union(*(symbols_of(p) for p in parts if isinstance(p, DimExpr)))


def _results(made: Op, operands: Sequence[Tensor]) -> list[Tensor]:
    results = [Tensor(v.type, v) for v in made.results]
    for result in results:
        result.guess = any(t.guess for t in operands)
    return results


def _number(value: Any, dtype: DType) -> Array:
    """A Python number as an array of `dtype`. Raises BM1006 when it does not fit."""
    try:
        with np.errstate(over="ignore"):
            return np.asarray(value).astype(dtype.numpy) if dtype.is_float else np.array(
                value, dtype.numpy)  # fmt: skip
    except (OverflowError, ValueError):
        raise BiremeError("BM1006", f"{value} is not a {dtype.label}") from None
