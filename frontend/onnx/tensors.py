"""Tensor data of a model, from its protobuf or from files beside it, without needless copies."""

from __future__ import annotations

import math
import mmap
from pathlib import Path

import numpy as np
from onnx import TensorProto, numpy_helper

from bireme.frontend.onnx.dtypes import dtype_of
from bireme.ir import Array, BiremeError, DType

_MOST_ELEMENTS = 1 << 40


class TensorReader:
    """Reads tensors of one model. `folder` is where its external data lies; None: there is none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder.resolve() if folder is not None else None
        self._files: dict[str, mmap.mmap | bytes] = {}

    def read(self, tensor: TensorProto, what: str = "") -> Array:
        """The tensor's data; the array must not be written to. Raises BM1003, BM1004, BM1005."""
        what = what or f"tensor {tensor.name!r}"
        shape = tuple(tensor.dims)
        if any(d < 0 for d in shape) or math.prod(shape) > _MOST_ELEMENTS:
            raise BiremeError("BM1005", f"{what} has shape {list(shape)}")
        dtype = dtype_of(tensor.data_type, what)
        if dtype.value_bits < 8:
            return self._packed(tensor, what, shape, dtype)
        if tensor.data_location == TensorProto.EXTERNAL:
            data = self._external(tensor, what, math.prod(shape) * dtype.bytes)
        elif tensor.HasField("raw_data"):
            data = memoryview(tensor.raw_data)
        else:
            return _typed(tensor, what, shape)
        if len(data) != math.prod(shape) * dtype.bytes:
            wanted = math.prod(shape) * dtype.bytes
            raise BiremeError("BM1005", f"{what} needs {wanted} bytes of data, found {len(data)}")
        if dtype.numpy == np.bool_:
            return np.asarray(np.frombuffer(data, np.uint8).reshape(shape) != 0)
        return np.frombuffer(data, dtype.numpy).reshape(shape)

    def _packed(
        self, tensor: TensorProto, what: str, shape: tuple[int, ...], dtype: DType
    ) -> Array:
        """Elements of less than a byte, which ONNX packs and the dialect does not."""
        if tensor.data_location == TensorProto.EXTERNAL:
            plain = TensorProto(data_type=tensor.data_type, dims=tensor.dims, name=tensor.name)
            size = -(-math.prod(shape) * dtype.value_bits // 8)
            plain.raw_data = bytes(self._external(tensor, what, size))
            tensor = plain
        return _typed(tensor, what, shape)

    def _external(self, tensor: TensorProto, what: str, size: int) -> memoryview:
        entries = {e.key: e.value for e in tensor.external_data}
        location = entries.get("location", "")
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
        except ValueError:
            raise BiremeError("BM1004", f"{what}: offset or length is not a number") from None
        data = memoryview(self._open(location, what))
        if offset < 0 or length < 0 or offset > len(data) or length > len(data) - offset:
            found = f"{location!r} has {len(data)} bytes"
            raise BiremeError("BM1004", f"{what} needs bytes {offset}..{offset + length}; {found}")
        return data[offset : offset + length]

    def _open(self, location: str, what: str) -> mmap.mmap | bytes:
        if self._folder is None:
            raise BiremeError(
                "BM1004", f"{what} lies in {location!r}", hint="load the model from its file"
            )
        if location in self._files:
            return self._files[location]
        try:
            path = (self._folder / location).resolve()
            inside = not Path(location).is_absolute() and path.is_relative_to(self._folder)
            if not location or not inside or not path.is_file():
                place = "missing" if inside else "outside the model's folder"
                raise BiremeError("BM1004", f"{what}: file {location!r} is {place}")
            with path.open("rb") as file:
                size = path.stat().st_size
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        except (OSError, ValueError, RuntimeError) as error:
            raise BiremeError("BM1004", f"{what}: file {location!r}: {error}") from None
        self._files[location] = mapped
        return mapped


def _typed(tensor: TensorProto, what: str, shape: tuple[int, ...]) -> Array:
    """Data in one of the typed fields."""
    try:
        array = np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise BiremeError("BM1005", f"{what}: {error}") from None
    if array.shape != shape:
        raise BiremeError("BM1005", f"{what}: data of shape {array.shape} for shape {shape}")
    return array
