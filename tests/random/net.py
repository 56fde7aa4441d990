"""A random graph under construction: its values, and the drawing of operands, shapes and leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from bireme.ir import (
    OPS,
    Block,
    Builder,
    Dim,
    DType,
    Fusion,
    Graph,
    Op,
    SymbolRange,
    TensorType,
    Value,
    evaluate,
    product,
    symbol,
)
from bireme.ir.dims import symbols_of
from bireme.ir.dtypes import NARROW
from tests.random.example import Fill

N, M = symbol("n"), symbol("m")
MOST_ELEMENTS = 4096
MOST_RANK = 5

# In the order in which a failing example is made plainer: earlier is plainer.
DTYPES = (
    DType.F32, DType.I32, DType.I64, DType.BOOL, DType.F64, DType.F16, DType.BF16,
    DType.U8, DType.I8, DType.I16, DType.U16, DType.U32, DType.U64,
)  # fmt: skip
# What ops that only move elements take.
MOVED = (*DTYPES, *DTYPES, *NARROW)
DIMS: tuple[Dim, ...] = (2, 3, 1, N, 4, 5, M, 7, 8, 16, 17, N, 13, 32, 33, 6, 9, 0, 64, 100)
RANKS = (2, 1, 3, 4, 0)

# Float results that are the same bits whatever the order of sums, when their operands are.
# (Ops that only move elements are, too.)
_EXACT = frozenset({
    "neg", "abs", "sign", "relu", "ceil", "floor", "round", "minimum", "maximum", "where", "cast",
    "reduce_max", "reduce_min", "max_pool", "topk", "scatter_elements", "scatter_nd",
})  # fmt: skip
_MOVING = (Fusion.VIEW, Fusion.INJECTIVE, Fusion.CONSTANT)


@dataclass(frozen=True)
class Held:
    """A value that later ops may read. `exact`: no rounding that could differ went into it."""

    value: Value
    exact: bool

    @property
    def type(self) -> TensorType:
        return self.value.type

    @property
    def dtype(self) -> DType:
        return self.value.type.dtype

    @property
    def shape(self) -> tuple[Dim, ...]:
        return self.value.type.shape


Test = Callable[[TensorType], bool]


@dataclass
class Net:
    """A graph, or a region of it, to which makers add ops.

    `sizes` are the assignments of the symbols that the graph will be run at: whether an index or a
    window fits is decided for these.
    """

    draw: Any
    sizes: tuple[Mapping[str, int], ...]
    graph: Graph = field(default_factory=lambda: Graph("random"))
    builder: Builder = field(init=False)
    pool: list[Held] = field(default_factory=list)
    fills: dict[str, Fill] = field(default_factory=dict)
    depth: int = 0
    # Whether floats are NaN, infinite and 0 here and there.
    special: bool = False
    # Sizes that the data decides: the most they can be, at each assignment of `sizes`.
    decided: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.builder = Builder(self.graph)
        for name in self.sizes[0]:
            least = min(s[name] for s in self.sizes)
            self.graph.set_symbol(name, SymbolRange(least, None, self.sizes[0][name]))

    def inside(self, block: Block, exact: Sequence[bool]) -> Net:
        """A net for the block of a region, which sees what this one has."""
        arguments = [Held(v, e) for v, e in zip(block.arguments, exact, strict=True)]
        inner = replace(self, pool=[*self.pool, *arguments], depth=self.depth + 1)
        inner.builder = Builder(self.graph, block=block)
        return inner

    # --- sizes ----------------------------------------------------------------------------------

    def least(self, dim: Dim) -> int:
        """The least number that a dimension is run with."""
        return min(evaluate(dim, s) for s in self._corners())

    def elements(self, shape: Sequence[Dim]) -> int:
        """The most elements that a tensor is run with."""
        return max(evaluate(product(tuple(shape)), s) for s in self._corners())

    def _corners(self) -> Iterator[Mapping[str, int]]:
        """The assignments, with none and with all of what the data may decide."""
        for number, sizes in enumerate(self.sizes):
            yield {**sizes, **dict.fromkeys(self.decided, 0)}
            yield {**sizes, **{name: most[number] for name, most in self.decided.items()}}

    def new_size(self, most: Dim) -> str:
        """The name of a size that the data decides, up to `most`."""
        name = f"d{len(self.decided)}"
        bounds = [{**s, **{n: m[i] for n, m in self.decided.items()}}
                  for i, s in enumerate(self.sizes)]  # fmt: skip
        self.decided[name] = [evaluate(most, b) for b in bounds]
        return name

    # --- choices --------------------------------------------------------------------------------

    def choose(self, options: Sequence[Any]) -> Any:
        """One of the options; a failing example gets the first that fails."""
        return self.draw(st.sampled_from(options))

    def flag(self) -> bool:
        return bool(self.draw(st.booleans()))

    def number(self, low: int, high: int) -> int:
        """From `low` to `high`, both included."""
        return int(self.draw(st.integers(low, high)))

    def shape(self, least: int = 0, most: int = 4) -> tuple[Dim, ...]:
        """A shape of so many axes, not too large."""
        rank = self.choose([r for r in RANKS if least <= r <= most] or [least])
        shape: list[Dim] = []
        for _ in range(rank):
            fitting = [d for d in DIMS if self.elements([*shape, d]) <= MOST_ELEMENTS // 4]
            shape.append(self.choose(fitting))
        return tuple(shape)

    # --- values ---------------------------------------------------------------------------------

    def leaf(self, dtype: DType, shape: Sequence[Dim], fill: Fill | None = None) -> Held:
        """A new input, or a constant where every size is a number.

        Without a `fill`, any that suits the type. Where the data decides a size, one element is
        repeated.
        """
        if any(symbols_of(d) & self.decided.keys() for d in shape):
            one = self.leaf(dtype, (), fill)
            value = self.builder.expand(one.value, shape=tuple(shape))
            self.pool.append(Held(value, True))
            return self.pool[-1]
        static = all(isinstance(d, int) for d in shape)
        constant = static and self.flag()
        fill = replace(fill or self._fill(dtype, constant), dtype=dtype.label)
        tensor = TensorType(dtype, tuple(shape))
        if constant:
            name = f"w{len(self.fills)}"
            self.fills[name] = fill
            value = self.builder.constant(fill.array(tensor.static_shape, name, 0), name)
        else:
            name = f"x{len(self.graph.inputs)}"
            self.fills[name] = fill
            value = self.graph.add_input(name, tensor)
        held = Held(value, True)
        self.pool.append(held)
        return held

    def _fill(self, dtype: DType, constant: bool) -> Fill:
        if constant and self.flag():
            special = [1, 0, 2] + ([-1] if dtype.is_signed else [])
            return Fill("full", self.choose(special) if dtype is not DType.BOOL else 1)
        if dtype.is_float:
            return Fill("special" if self.special else "normal")
        return Fill(self.choose(["normal", "wide"]))

    def pick(
        self, dtypes: Sequence[DType] = MOVED, test: Test | None = None, *, exact: bool = False
    ) -> Held | None:
        """A value that fits: the latest first, or a new leaf. None when no leaf was found."""
        found = [
            h
            for h in reversed(self.pool)
            if h.dtype in dtypes and (h.exact or not exact) and (test is None or test(h.type))
        ]
        index = self.number(0, len(found))
        if index < len(found):
            return found[index]
        tensor = TensorType(self.choose([t for t in MOVED if t in dtypes]), self.shape())
        return self.leaf(tensor.dtype, tensor.shape) if test is None or test(tensor) else None

    def ranked(
        self, dtypes: Sequence[DType], least: int, most: int = MOST_RANK, *, exact: bool = False
    ) -> Held:
        """A value with a rank in the range."""
        held = self.pick(dtypes, lambda t: least <= t.rank <= most, exact=exact)
        if held is None:
            dtype = self.choose([t for t in MOVED if t in dtypes])
            held = self.leaf(dtype, self.shape(least, most))
        return held

    def peer(self, *shapes: Sequence[Dim], dtype: DType, exact: bool = False) -> Held:
        """A value that broadcasts against the others of these shapes."""
        whole: list[Dim] = [1] * max(map(len, shapes))
        for shape in shapes:
            for back, size in enumerate(reversed(shape), 1):
                whole[-back] = size if size != 1 else whole[-back]

        def fits(tensor: TensorType) -> bool:
            pairs = zip(reversed(tensor.shape), reversed(whole), strict=False)
            return all(a in (b, 1) or b == 1 for a, b in pairs)

        found = self.pick([dtype], fits, exact=exact)
        if found is None:
            drop = self.number(0, len(whole))
            tail = [1 if d != 1 and self.flag() else d for d in whole[drop:]]
            found = self.leaf(dtype, tail)
        return found

    # --- ops ------------------------------------------------------------------------------------

    def emit(
        self, name: str, operands: Sequence[Held], *, exact: bool | None = None, **attrs: Any
    ) -> list[Held]:
        """Adds an op unless its results would be too large; gives them."""
        op = self.builder.op(name, [h.value for h in operands], **attrs)
        return self.hold(op, all(h.exact for h in operands) if exact is None else exact)

    def hold(self, op: Op, exact: bool) -> list[Held]:
        """Results of an op as values of the pool, unless they are too large: then it is removed."""
        large = any(self.elements(v.type.shape) > MOST_ELEMENTS for v in op.results)
        if large or any(v.type.rank > MOST_RANK for v in op.results):
            op.erase()
            return []
        kept = op.name in _EXACT or (OPS[op.name].fusion in _MOVING and op.name != "resize")
        made = [Held(v, (exact and kept) or not v.type.dtype.is_float) for v in op.results]
        self.pool += made
        return made
