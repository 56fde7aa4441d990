"""Tensor types: an element type and a shape of dimensions, and their MLIR form.

In MLIR a shape with symbols is `tensor<?x3xf32, ["batch", "3"]>`: the encoding holds every
dimension as text. A shape without symbols has no encoding.
"""

from __future__ import annotations

from dataclasses import dataclass

from bireme.ir._mlir import ir
from bireme.ir.dims import Dim, DimExpr, parse, product, symbols_of
from bireme.ir.dtypes import BY_MLIR, DType
from bireme.ir.errors import BiremeError


@dataclass(frozen=True)
class TensorType:
    """Element type and shape of a value. Rank is always known; sizes may be symbolic."""

    dtype: DType
    shape: tuple[Dim, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def elements(self) -> Dim:
        return product(self.shape)

    @property
    def bytes(self) -> Dim:
        return self.elements * self.dtype.bytes

    @property
    def is_static(self) -> bool:
        return all(isinstance(d, int) for d in self.shape)

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape as ints. Raises BM1007 when a dimension is symbolic."""
        dims = tuple(d for d in self.shape if isinstance(d, int))
        if len(dims) != self.rank:
            raise BiremeError("BM1007", f"{self} has sizes known only at run time")
        return dims

    @property
    def symbols(self) -> set[str]:
        return set().union(*(symbols_of(d) for d in self.shape))

    def with_shape(self, shape: tuple[Dim, ...] | list[Dim]) -> TensorType:
        return TensorType(self.dtype, tuple(shape))

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.shape)

    def __str__(self) -> str:
        return f"{self.dtype.label}[{', '.join(map(str, self.shape))}]"

    def to_mlir(self) -> ir.Type:
        """The MLIR type; needs a current context. Raises BM2004 for an impossible size."""
        dynamic = ir.ShapedType.get_dynamic_size()
        sizes = [dynamic if isinstance(d, DimExpr) else self._size(d) for d in self.shape]
        encoding = None
        if not self.is_static:
            encoding = ir.ArrayAttr.get([ir.StringAttr.get(str(d)) for d in self.shape])
        return ir.RankedTensorType.get(sizes, ir.Type.parse(self.dtype.mlir), encoding)

    def _size(self, dim: int) -> int:
        if not isinstance(dim, int) or not 0 <= dim < 1 << 63:
            raise BiremeError("BM2004", f"{self} has a size that is not in [0, 2**63)")
        return dim

    @staticmethod
    def from_mlir(mlir_type: ir.Type) -> TensorType:
        """Reads back what `to_mlir` made. Raises BM2008 for any other type."""
        text = str(mlir_type)
        if text not in _READ:
            if len(_READ) >= _READ_LIMIT:
                _READ.clear()
            _READ[text] = TensorType._read(mlir_type)
        return _READ[text]

    @staticmethod
    def _read(mlir_type: ir.Type) -> TensorType:
        try:
            tensor = ir.RankedTensorType(mlir_type)
            dtype = BY_MLIR[str(tensor.element_type)]
            if tensor.encoding is None:
                shape: tuple[Dim, ...] = tuple(tensor.shape)
                if any(tensor.is_dynamic_dim(i) for i in range(tensor.rank)):
                    raise ValueError("a dynamic size has no name")
            else:
                names = ir.ArrayAttr(tensor.encoding)
                shape = tuple(parse(ir.StringAttr(name).value) for name in names)
                _check_names(tensor, shape)
        except (KeyError, ValueError) as error:
            raise BiremeError(
                "BM2008", f"{mlir_type} is not a tensor of this dialect: {error}"
            ) from None
        return TensorType(dtype, shape)


def _check_names(tensor: ir.RankedTensorType, shape: tuple[Dim, ...]) -> None:
    if len(shape) != tensor.rank:
        raise ValueError("the encoding's length is not the rank")
    for axis, dim in enumerate(shape):
        size = None if tensor.is_dynamic_dim(axis) else tensor.get_dim_size(axis)
        if size != (dim if isinstance(dim, int) else None):
            raise ValueError(f"size {'?' if size is None else size} is called {dim}")


# Types already read, by their text: a model has few distinct ones and asks for them constantly.
_READ: dict[str, TensorType] = {}
_READ_LIMIT = 1 << 16
