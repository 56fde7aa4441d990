"""Graph inputs: names and ranges of their sizes, and inputs frozen to data."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from onnx import ValueInfoProto

from bireme.frontend.onnx.dtypes import dtype_of
from bireme.ir import Array, BiremeError, Dim, DType, SymbolRange, TensorType, symbol

_MOST_ELEMENTS = 1 << 40
# What schedules are chosen for when the size of an axis (not the first, the batch) is not known.
_TYPICAL = 64
_RESERVED = {"min", "max"}


def identifier(name: str) -> str:
    """`name` as an identifier that a dimension may have; empty when nothing of it can stay."""
    plain = re.sub(r"[^0-9A-Za-z_]+", "_", name).strip("_")
    if plain and (plain[0].isdigit() or keyword.iskeyword(plain) or plain in _RESERVED):
        plain = f"_{plain}"
    return plain


@dataclass
class SizeNames:
    """The symbols of a model: what the user fixes or bounds, and the names given so far."""

    given: Mapping[str, int | range]
    ranges: dict[str, SymbolRange] = field(default_factory=dict)
    # Identifier by the model's own name, or by (input, axis) for a size without one.
    _names: dict[str | tuple[str, int], str] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)

    def named(self, name: str, input_name: str, axis: int) -> Dim:
        """The size of an axis of an input; `name` is the model's own for it, or says nothing."""
        own = bool(identifier(name))
        owner = name if own else (input_name, axis)
        name = name if own else f"{input_name}_{axis}"
        if owner not in self._names:
            plain = identifier(name) or "size"
            taken = set(self._names.values())
            if plain in taken:
                plain = next(
                    f"{plain}_{i}" for i in range(2, len(taken) + 3) if f"{plain}_{i}" not in taken
                )
            self._names[owner] = plain
        plain = self._names[owner]
        key = name if name in self.given else plain
        value = self.given.get(key)
        self._used.add(key)
        if isinstance(value, int):
            if value < 0:
                raise BiremeError("BM6002", f"{value} is no size", where=f"dims[{key!r}]")
            return value
        if plain not in self.ranges:
            self.ranges[plain] = _range(value, key, _TYPICAL if axis else 1)
        return symbol(plain)

    def most_of(self, node: str, axis: int) -> int | None:
        """The most that the user allows of what data decides of `node`: the end of the range given
        for `node[axis]`, an axis of its result, or for all of it under its name, or under that of
        a node which it is part of.
        """
        around = accumulate(node.split("/"), "{}/{}".format)
        for name in (f"{node}[{axis}]", *reversed(list(around))):
            value = self.given.get(name)
            if value is not None:
                self._used |= {name, node} & self.given.keys()
                return value if isinstance(value, int) else value[-1]
        return None

    def check_all_used(self) -> None:
        """Raises BM6002 for names in `given` that the model does not have."""
        unknown = sorted(set(self.given) - self._used)
        if unknown:
            known = ", ".join(sorted(self._names.values())) or "none"
            raise BiremeError(
                "BM6002", f"no dimension is called {', '.join(unknown)}; known: {known}"
            )


def _range(given: range | None, key: str, typical: int) -> SymbolRange:
    """The range that the user gives for a size, or the usual one."""
    if given is None:
        # Empty tensors must be asked for.
        return SymbolRange(1, None, typical)
    if not isinstance(given, range) or not given or given.step != 1 or given[0] < 0:
        raise BiremeError("BM6002", f"{given} is no range of sizes", where=f"dims[{key!r}]")
    return SymbolRange(given[0], given[-1], min(max(typical, given[0]), given[-1]))


def input_type(info: ValueInfoProto, names: SizeNames) -> TensorType:
    """Type of a graph input. Raises BM1003 for what is no tensor, BM1005, BM1007."""
    what = f"input {info.name!r}"
    kind = info.type.WhichOneof("value")
    if kind != "tensor_type":
        raise BiremeError(
            "BM1003", f"{what} is a {(kind or 'value without type').replace('_type', '')}"
        )
    dtype = dtype_of(info.type.tensor_type.elem_type, what)
    if not info.type.tensor_type.HasField("shape"):
        raise BiremeError("BM1007", f"the number of dimensions of {what} is not stated")
    shape: list[Dim] = []
    fixed = 1
    for axis, dim in enumerate(info.type.tensor_type.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            shape.append(dim.dim_value)
            fixed *= max(dim.dim_value, 1)
        else:
            shape.append(names.named(dim.dim_param, info.name, axis))
    if fixed > _MOST_ELEMENTS:
        raise BiremeError("BM1005", f"{what} has shape {shape}")
    return TensorType(dtype, tuple(shape))


def declared_sizes(values: Iterable[ValueInfoProto]) -> dict[str, list[int | None]]:
    """Sizes that a graph states of its values, None for those it only names."""
    return {
        value.name: [
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None
            for dim in value.type.tensor_type.shape.dim
        ]
        for value in values
        if value.type.tensor_type.HasField("shape")
    }


def frozen(name: str, array: Array, declared: TensorType) -> Array:
    """`array` as the data of input `name`. Raises BM6003 when it does not fit."""
    found = TensorType(DType.of(array), array.shape)
    fits = found.rank == declared.rank and all(
        not isinstance(d, int) or d == s for d, s in zip(declared.shape, array.shape, strict=False)
    )
    if found.dtype is not declared.dtype or not fits:
        raise BiremeError(
            "BM6003", f"expected {declared}; found {found}", where=f"constants[{name!r}]"
        )
    return array
