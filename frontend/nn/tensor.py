"""The `Tensor` class: NumPy's operators and methods over the op table, eager or traced.

Element types follow PyTorch: a number (Python's or NumPy's) takes the tensor's type, float beats
int, int beats bool. Arguments are called `axis` and `keepdims` as in NumPy; PyTorch's positional
order holds.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Union

import numpy as np

from bireme.frontend.nn.dispatch import Source, Weight, place, run, symbol_ranges, type_of
from bireme.frontend.nn.indexing import plan
from bireme.ir import Array, BiremeError, Dim, DimExpr, DType, TensorType, Value, product

Scalar = bool | int | float | DimExpr
TensorLike = Union["Tensor", Array, "np.generic[Any]", Scalar]
Axes = int | Sequence[int] | None

_CONTROL = "use nn.cond, nn.while_loop, nn.scan or nn.functional.where"


class Tensor:
    """An array, or a value of the graph being traced. Never changed in place."""

    __slots__ = ("_source",)
    # NumPy leaves `array + tensor` to the tensor.
    __array_ufunc__ = None

    _source: Source

    def __init__(self, data: Any, dtype: Any = None) -> None:
        if isinstance(data, Tensor):
            data = data.numpy()
        array = np.asarray(data)
        if dtype is not None:
            array = array.astype(DType.of(dtype).numpy, copy=False)
        elif array.dtype == np.float64 and not isinstance(data, (np.ndarray, np.generic)):
            array = array.astype(np.float32)  # Python floats, as in PyTorch
        try:
            DType.of(array)
        except BiremeError as error:
            raise error.at(place()) from None
        self._source = array

    @staticmethod
    def of(source: Source) -> Tensor:
        """Wraps what the dispatcher gives."""
        tensor = Tensor.__new__(Tensor)
        tensor._source = source
        return tensor

    # --- what it is -------------------------------------------------------------------------------

    @property
    def source(self) -> Source:
        return self._source

    @property
    def type(self) -> TensorType:
        return type_of(self._source)

    @property
    def shape(self) -> tuple[Dim, ...]:
        """Sizes: ints, and expressions of symbols while traced."""
        return self.type.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return self.type.rank

    def numpy(self) -> Array:
        """The array, not a copy. Raises BM1008 while traced."""
        if isinstance(self._source, Weight):
            return self._source.array
        if isinstance(self._source, Value):
            raise self._refuse("its value is asked for")
        return self._source

    def item(self) -> Any:
        return self.numpy().item()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.numpy(), dtype, copy=copy)

    def _refuse(self, what: str, hint: str = _CONTROL) -> BiremeError:
        detail = f"{what}, but a traced tensor ({self.type}) has no value yet"
        return BiremeError("BM1008", detail, where=place(), hint=hint)

    def _value(self, what: str) -> Any:
        if isinstance(self._source, Value):
            raise self._refuse(what)
        return self.numpy()

    def __bool__(self) -> bool:
        return bool(self._value("Python control flow depends on it"))

    def __int__(self) -> int:
        return int(self._value("it is turned into a Python int"))

    def __float__(self) -> float:
        return float(self._value("it is turned into a Python float"))

    def __index__(self) -> int:
        return int(self._value("it is used as a Python index").__index__())

    def __len__(self) -> int:
        size = self.shape[0] if self.ndim else None
        if not isinstance(size, int):
            detail = "a scalar has no length" if size is None else f"its length is {size}"
            raise BiremeError("BM1008", detail, where=place(), hint="loop with nn.scan")
        return size

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        known = "" if isinstance(self._source, (Value, Weight)) else f", {self._source}"
        return f"Tensor({self.type}{known})"

    __hash__ = object.__hash__

    # --- arithmetic -------------------------------------------------------------------------------

    def __neg__(self) -> Tensor:
        return op("neg", self)

    def __abs__(self) -> Tensor:
        return op("abs", self)

    def __add__(self, other: TensorLike) -> Tensor:
        return binary("add", self, other)

    def __sub__(self, other: TensorLike) -> Tensor:
        return binary("sub", self, other)

    def __mul__(self, other: TensorLike) -> Tensor:
        return binary("mul", self, other)

    def __truediv__(self, other: TensorLike) -> Tensor:
        return true_divide(self, other)

    def __floordiv__(self, other: TensorLike) -> Tensor:
        return floor_divide(self, other)

    def __mod__(self, other: TensorLike) -> Tensor:
        return binary("mod", self, other)

    def __pow__(self, other: TensorLike) -> Tensor:
        return binary("pow", self, other)

    def __matmul__(self, other: TensorLike) -> Tensor:
        return matmul(self, other)

    def __radd__(self, other: TensorLike) -> Tensor:
        return binary("add", other, self)

    def __rsub__(self, other: TensorLike) -> Tensor:
        return binary("sub", other, self)

    def __rmul__(self, other: TensorLike) -> Tensor:
        return binary("mul", other, self)

    def __rtruediv__(self, other: TensorLike) -> Tensor:
        return true_divide(other, self)

    def __rfloordiv__(self, other: TensorLike) -> Tensor:
        return floor_divide(other, self)

    def __rmod__(self, other: TensorLike) -> Tensor:
        return binary("mod", other, self)

    def __rpow__(self, other: TensorLike) -> Tensor:
        return binary("pow", other, self)

    def __rmatmul__(self, other: TensorLike) -> Tensor:
        return matmul(other, self)

    # --- comparison and logic ---------------------------------------------------------------------

    def __eq__(self, other: TensorLike) -> Tensor:  # type: ignore[override]
        return binary("equal", self, other)

    def __ne__(self, other: TensorLike) -> Tensor:  # type: ignore[override]
        return binary("not_equal", self, other)

    def __lt__(self, other: TensorLike) -> Tensor:
        return binary("less", self, other)

    def __le__(self, other: TensorLike) -> Tensor:
        return binary("less_equal", self, other)

    def __gt__(self, other: TensorLike) -> Tensor:
        return binary("greater", self, other)

    def __ge__(self, other: TensorLike) -> Tensor:
        return binary("greater_equal", self, other)

    def __and__(self, other: TensorLike) -> Tensor:
        return self._bits("and", other)

    def __or__(self, other: TensorLike) -> Tensor:
        return self._bits("or", other)

    def __xor__(self, other: TensorLike) -> Tensor:
        return self._bits("xor", other)

    def __invert__(self) -> Tensor:
        return op("logical_not" if self.dtype is DType.BOOL else "bitwise_not", self)

    def _bits(self, name: str, other: TensorLike) -> Tensor:
        x, y = promote(self, other)
        kind = "logical" if x.dtype is DType.BOOL else "bitwise"
        return op(f"{kind}_{name}", x, y)

    # --- shape ------------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Tensor:
        """Basic indexing as in NumPy, and one integer tensor (a gather along its axis)."""
        try:
            steps = plan(index, self.shape, symbol_ranges())
        except BiremeError as error:
            raise error.at(place()) from None
        result = self
        if steps.sliced:
            result = op("slice", result, starts=steps.starts, sizes=steps.sizes, steps=steps.steps)
        if steps.shape != result.shape:
            result = op("reshape", result, shape=steps.shape)
        if steps.indices is not None:
            result = op("gather", result, steps.indices, axis=steps.axis)
        return result

    def reshape(self, *shape: Any) -> Tensor:
        """One size may be -1: what is left of the elements."""
        sizes = _sizes(shape)
        if -1 in sizes:
            rest = product([d for d in sizes if d != -1])
            left = self.type.elements // rest if rest != 0 else 0
            sizes = tuple(left if d == -1 else d for d in sizes)
        return self if sizes == self.shape else op("reshape", self, shape=sizes)

    def flatten(self, start: int = 0, end: int = -1) -> Tensor:
        """Joins the axes from `start` to `end`, both included."""
        first, last = self._axis(start), self._axis(end) + 1
        middle = product(self.shape[first:last])
        return self.reshape(*self.shape[:first], middle, *self.shape[last:])

    def squeeze(self, axis: int) -> Tensor:
        """Removes an axis of size 1."""
        at = self._axis(axis)
        if self.shape[at] != 1:
            detail = f"axis {axis} of {self.type} has size {self.shape[at]}, not 1"
            raise BiremeError("BM2004", detail, where=place())
        return self.reshape(*self.shape[:at], *self.shape[at + 1 :])

    def unsqueeze(self, axis: int) -> Tensor:
        """Adds an axis of size 1 that becomes axis `axis` of the result."""
        at = axis % (self.ndim + 1)
        return self.reshape(*self.shape[:at], 1, *self.shape[at:])

    def permute(self, *axes: Any) -> Tensor:
        """Axis i of the result is axis `axes[i]` of this tensor."""
        order = tuple(self._axis(int(a)) for a in _sizes(axes))
        return op("transpose", self, perm=order)

    def transpose(self, axis0: int, axis1: int) -> Tensor:
        """Exchanges two axes."""
        order = list(range(self.ndim))
        a, b = self._axis(axis0), self._axis(axis1)
        order[a], order[b] = b, a
        return op("transpose", self, perm=tuple(order))

    @property
    def T(self) -> Tensor:  # noqa: N802 - NumPy's name
        return self.permute(*reversed(range(self.ndim)))

    def expand(self, *shape: Any) -> Tensor:
        """Broadcast to a shape; -1 keeps a size."""
        sizes = _sizes(shape)
        kept = (1,) * (len(sizes) - self.ndim) + self.shape
        wanted = tuple(k if d == -1 else d for d, k in zip(sizes, kept, strict=True))
        return op("expand", self, shape=wanted)

    def astype(self, dtype: Any) -> Tensor:
        kind = DType.of(dtype)
        return self if kind is self.dtype else op("cast", self, dtype=kind)

    def _axis(self, axis: int) -> int:
        if not -self.ndim <= axis < self.ndim:
            detail = f"axis {axis} is outside the {self.ndim} axes of {self.type}"
            raise BiremeError("BM1006", detail, where=place(), hint="count the axes of the shape")
        return axis % self.ndim

    # --- reductions -------------------------------------------------------------------------------

    def _reduce(self, name: str, axis: Axes, keepdims: bool) -> Tensor:
        axes = range(self.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        wanted = tuple(sorted(self._axis(a) for a in axes))
        return op(f"reduce_{name}", self, axes=wanted, keepdims=keepdims) if wanted else self

    def sum(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return self._reduce("sum", axis, keepdims)

    def mean(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return self._reduce("mean", axis, keepdims)

    def max(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """Largest values alone, as in NumPy; `argmax` gives their places."""
        return self._reduce("max", axis, keepdims)

    def min(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return self._reduce("min", axis, keepdims)

    def prod(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return self._reduce("prod", axis, keepdims)

    def any(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return (self != 0 if self.dtype is not DType.BOOL else self).max(axis, keepdims)

    def all(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return (self != 0 if self.dtype is not DType.BOOL else self).min(axis, keepdims)

    def argmax(self, axis: int, keepdims: bool = False) -> Tensor:
        return op("argmax", self, axis=self._axis(axis), keepdims=keepdims)

    def argmin(self, axis: int, keepdims: bool = False) -> Tensor:
        return op("argmin", self, axis=self._axis(axis), keepdims=keepdims)

    def softmax(self, axis: int) -> Tensor:
        return op("softmax", self, axis=self._axis(axis))


# --- from anything to operands --------------------------------------------------------------------


def ops(name: str, *operands: TensorLike | None, **attrs: Any) -> tuple[Tensor, ...]:
    """Runs op `name` of `bireme.ir.OPS` and gives all its results. A missing operand is None."""
    sources = [tensor(x).source for x in operands if x is not None]
    return tuple(Tensor.of(s) for s in run(name, sources, attrs))


def op(name: str, *operands: TensorLike | None, **attrs: Any) -> Tensor:
    """Runs op `name` of `bireme.ir.OPS`, which has one result."""
    (result,) = ops(name, *operands, **attrs)
    return result


def tensor(value: TensorLike) -> Tensor:
    """A tensor of anything that can be an operand."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, DimExpr):
        return op("dim_values", values=(value,)).reshape()
    return Tensor(value)


@functools.lru_cache(maxsize=1024)
def _number(text: str, dtype: DType) -> Array:
    """One array per number, so that a graph holds each once."""
    value: Any = {"True": True, "False": False}.get(text)
    if value is None:
        value = int(text) if text.lstrip("-").isdigit() else float(text)
    return np.asarray(value).astype(dtype.numpy)


def _rank_of(value: Any) -> int:
    """0 for bool, 1 for integers, 2 for floats."""
    if isinstance(value, DType):
        return 2 if value.is_float else int(value.is_integer)
    return 0 if isinstance(value, bool) else 2 if isinstance(value, float) else 1


def _is_number(value: TensorLike) -> bool:
    return isinstance(value, (bool, int, float, DimExpr, np.generic))


def promote(*values: TensorLike) -> list[Tensor]:
    """All operands with one element type."""
    values = tuple(v.item() if isinstance(v, np.generic) else v for v in values)
    tensors = [tensor(v) for v in values if not _is_number(v)]
    numbers = [v for v in values if _is_number(v)]
    rank = max((_rank_of(t.dtype) for t in tensors), default=-1)
    kinds = [t.dtype.numpy for t in tensors if _rank_of(t.dtype) == rank]
    kind = DType.of(functools.reduce(np.promote_types, kinds)) if kinds else DType.BOOL
    weak = max((_rank_of(n) for n in numbers), default=-1)
    if weak > rank:
        kind = (DType.BOOL, DType.I64, DType.F32)[weak]
    return [_as(v, kind) for v in values]


def _as(value: TensorLike, kind: DType) -> Tensor:
    if isinstance(value, DimExpr) or not _is_number(value):
        return tensor(value).astype(kind)
    return Tensor.of(_number(repr(value), kind))


def binary(name: str, x: TensorLike, y: TensorLike) -> Tensor:
    """A pointwise op on two operands of one element type."""
    return op(name, *promote(x, y))


def true_divide(x: TensorLike, y: TensorLike) -> Tensor:
    """Integers become float32, as in PyTorch."""
    a, b = promote(x, y)
    return (
        op("div", a, b) if a.dtype.is_float else op("div", a.astype("float32"), b.astype("float32"))
    )


def floor_divide(x: TensorLike, y: TensorLike) -> Tensor:
    """The quotient rounded towards minus infinity."""
    a, b = promote(x, y)
    if a.dtype.is_float:
        return op("floor", op("div", a, b))
    return op("div", a - op("mod", a, b), b)


def matmul(x: TensorLike, y: TensorLike) -> Tensor:
    """NumPy's matrix product; a vector is a row on the left, a column on the right."""
    a, b = promote(x, y)
    row, column = a.ndim == 1, b.ndim == 1
    if row:
        a = a.unsqueeze(0)
    if column:
        b = b.unsqueeze(1)
    result = op("matmul", a, b)
    if row:
        result = result.squeeze(-2)
    return result.squeeze(-1) if column else result


def _sizes(shape: Sequence[Any]) -> tuple[Any, ...]:
    """`f(2, 3)` and `f((2, 3))` are the same."""
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = shape[0]
    return tuple(d if isinstance(d, DimExpr) else int(d) for d in shape)
