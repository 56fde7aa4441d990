"""A node of the model as its converter sees it: inputs, attributes, and the maker of ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import AttributeProto, NodeProto
from onnx.defs import OpSchema

from bireme.frontend.onnx.dtypes import dtype_of
from bireme.frontend.onnx.emit import Emitter, Tensor
from bireme.frontend.onnx.report import RefusedError
from bireme.frontend.onnx.tensors import TensorReader
from bireme.ir import Array, BiremeError, Dim, DType

if TYPE_CHECKING:
    from bireme.frontend.onnx.importer import Scope

# Gives the node's outputs in order: one Tensor, or several.
Converter = Callable[["Node"], "Tensor | Sequence[Tensor | None]"]

_READ: dict[int, Callable[[AttributeProto], Any]] = {
    AttributeProto.INT: lambda a: a.i,
    AttributeProto.FLOAT: lambda a: a.f,
    AttributeProto.STRING: lambda a: a.s.decode(),
    AttributeProto.INTS: lambda a: list(a.ints),
    AttributeProto.FLOATS: lambda a: list(a.floats),
    AttributeProto.STRINGS: lambda a: [s.decode() for s in a.strings],
    AttributeProto.TENSOR: lambda a: a.t,
    AttributeProto.GRAPH: lambda a: a.g,
}


class Node:
    """One node with its inputs looked up. Reading an attribute marks it as understood."""

    def __init__(
        self,
        proto: NodeProto,
        name: str,
        opset: int,
        inputs: Sequence[Tensor | None],
        emitter: Emitter,
        reader: TensorReader,
        scope: Scope,
    ) -> None:
        self.proto = proto
        self.name = name
        self.opset = opset
        self.inputs = list(inputs)
        self.b = emitter
        self.reader = reader
        self.scope = scope
        self.read: set[str] = set()
        self._attributes = {a.name: a for a in proto.attribute}

    @property
    def outputs(self) -> int:
        """How many outputs the node names, trailing empty names left out."""
        names = list(self.proto.output)
        while names and not names[-1]:
            names.pop()
        return len(names)

    def wants(self, index: int) -> bool:
        """Whether output `index` has a name."""
        return index < len(self.proto.output) and bool(self.proto.output[index])

    # --- inputs -----------------------------------------------------------------------------------

    def __getitem__(self, index: int) -> Tensor:
        """Input `index`. Raises BM1005 when it is absent."""
        tensor = self.get(index)
        if tensor is None:
            raise BiremeError("BM1005", f"input {index} is missing")
        return tensor

    def get(self, index: int) -> Tensor | None:
        """Input `index`, or None when it is absent. Raises BM1003 for a sequence."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if tensor is not None and tensor.items is not None:
            raise BiremeError("BM1003", f"{self.label(index)} is a sequence")
        return tensor

    def items(self, index: int) -> list[Tensor]:
        """The tensors of a sequence. Raises BM1005 for anything else."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if tensor is None or tensor.items is None:
            raise BiremeError("BM1005", f"{self.label(index)} is no sequence")
        return tensor.items

    def array(self, index: int) -> Array:
        """Data of input `index`. Raises BM1007 when it is not known at compile time."""
        array = self[index].array
        if array is None:
            raise self.unknown(index)
        return array

    def scalar(self, index: int) -> Any:
        """The one element of input `index` as a Python number. Raises BM1007, BM1006."""
        array = self.array(index)
        if array.size != 1:
            raise BiremeError(
                "BM1006", f"{self.label(index)} must have one element: {self[index].type}"
            )
        return array.ravel()[0].item()

    def ints_of(self, index: int) -> list[int]:
        """Integers of input `index`. Raises BM1007, BM1006."""
        dims = self.dims(index)
        if not all(isinstance(d, int) for d in dims):
            raise self.unknown(index)
        return [int(str(d)) for d in dims]

    def dims(self, index: int) -> list[Dim]:
        """Elements of input `index` as sizes. Raises BM1007 if unknown, BM1006 if no integers."""
        tensor = self[index]
        if not tensor.dtype.is_integer:
            raise BiremeError("BM1006", f"{self.label(index)} must hold integers: {tensor.type}")
        dims = tensor.dims
        if dims is None:
            raise self.unknown(index)
        return dims

    def sizes(self, index: int) -> list[Dim | None]:
        """Elements of input `index` as sizes, None for those that only run time knows.

        Raises BM1006 for no integers, BM1007 where it is not known how many there are.
        """
        tensor = self[index]
        if not tensor.dtype.is_integer:
            raise BiremeError("BM1006", f"{self.label(index)} must hold integers: {tensor.type}")
        if tensor.dims is not None:
            return list(tensor.dims)
        return self.vector(index).sizes

    def vector(self, index: int) -> Tensor:
        """Input `index`, a scalar or a vector of known length. Raises BM1007 for others.

        The data may decide on a length of 0 or 1: then it is 1, or the model fails when it runs.
        """
        x = self[index]
        if x.guess or x.rank > 1:
            raise self.unknown(index)
        if x.rank == 1 and self.b.bounds.of(x.shape[0])[1] == 1 and not x.type.is_static:
            x = self.b.reshape(x, shape=(1,))
        if not x.type.is_static:
            raise self.unknown(index)
        return x

    def unknown(self, index: int) -> BiremeError:
        """The error for an input whose data must be known at compile time.

        Raises RefusedError itself when a refused node is the reason.
        """
        if self[index].guess:
            raise RefusedError
        return BiremeError("BM1007", f"{self.label(index)} is not known when the model is compiled")

    def most_allowed(self, unknown: str, hint: str, axis: int = 0, output: int = 0) -> int:
        """The most of a size of a result that only data decides: what the user allows under the
        node's name, or the size that the model declares the result to have.

        Raises BM1007, saying what is `unknown`, where neither is given; `hint` has `{node}`.
        """
        most = self.scope.importer.sizes.most_of(self.name, axis)
        if most is None and output < len(self.proto.output):
            most = self.scope.declared(self.proto.output[output], axis)
        if most is None:
            raise BiremeError("BM1007", unknown, hint=hint.replace("{node}", self.name))
        return most

    def most_of_axis(self, axis: int) -> int:
        """`most_allowed` of an axis of the first result."""
        return self.most_allowed(
            f"the data decides the size of axis {axis} of the result",
            "say how large it can be with --dim {node}=0..SIZE "
            f"(or, for that axis alone, --dim {{node}}[{axis}]=0..SIZE)",
            axis,
        )

    def label(self, index: int) -> str:
        """How messages call input `index`."""
        return f"input {index} ({self.proto.input[index]!r})"

    # --- attributes -------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Whether the attribute is given."""
        return name in self._attributes

    def attr(self, name: str, kind: int, default: Any) -> Any:
        """The attribute's value, or `default`. Raises BM1006 for another kind."""
        self.read.add(name)
        attribute = self._attributes.get(name)
        if attribute is None:
            return default
        if attribute.type != kind:
            wanted = AttributeProto.AttributeType.Name(kind)
            raise BiremeError("BM1006", f"attribute {name!r} must be of kind {wanted}")
        try:
            return _READ[kind](attribute)
        except UnicodeDecodeError:
            raise BiremeError("BM1006", f"attribute {name!r} is not text") from None

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer attribute; without a default it is required."""
        return int(self._required(name, AttributeProto.INT, default))

    def flag(self, name: str, default: bool = False) -> bool:
        """An integer attribute that means yes or no."""
        return bool(self.attr(name, AttributeProto.INT, default))

    def number(self, name: str, default: float | None = None) -> float:
        """A float attribute; without a default it is required."""
        return float(self._required(name, AttributeProto.FLOAT, default))

    def text(self, name: str, default: str | None = None) -> str:
        """A text attribute; without a default it is required."""
        return str(self._required(name, AttributeProto.STRING, default))

    def integers(self, name: str, default: Sequence[int] | None = None) -> list[int]:
        """A list of integers; without a default it is required."""
        return list(self._required(name, AttributeProto.INTS, default))

    def numbers(self, name: str, default: Sequence[float] | None = None) -> list[float]:
        """A list of floats; without a default it is required."""
        return list(self._required(name, AttributeProto.FLOATS, default))

    def texts(self, name: str, default: Sequence[str] | None = None) -> list[str]:
        """A list of texts; without a default it is required."""
        return list(self._required(name, AttributeProto.STRINGS, default))

    def dtype(self, name: str, default: DType | None = None) -> DType:
        """An element type given as a number; without a default it is required."""
        if default is not None and not self.has(name):
            self.read.add(name)
            return default
        return dtype_of(self.integer(name), f"attribute {name!r}")

    def tensor(self, name: str, default: Any = None) -> Array:
        """A tensor attribute; without a default it is required."""
        proto = self._required(name, AttributeProto.TENSOR, default)
        return (
            proto
            if isinstance(proto, np.ndarray)
            else self.reader.read(proto, f"attribute {name!r}")
        )

    def graph(self, name: str) -> Any:
        """A subgraph."""
        return self._required(name, AttributeProto.GRAPH, None)

    def _required(self, name: str, kind: int, default: Any) -> Any:
        value = self.attr(name, kind, default)
        if value is None:
            raise BiremeError("BM1006", f"attribute {name!r} is missing")
        return value

    def check_all_read(self, schema: OpSchema | None) -> None:
        """Raises BM1003 for an attribute that the converter did not read, unless at its default."""
        for name, attribute in self._attributes.items():
            known = schema.attributes.get(name) if schema is not None else None
            default = known.default_value if known is not None else None
            if name not in self.read and (default is None or not _same(attribute, default)):
                raise BiremeError("BM1003", f"attribute {name!r} is not supported")

    def choice(self, name: str, default: str, allowed: Sequence[str]) -> str:
        """A text attribute with a fixed set of values. Raises BM1006 for any other."""
        value = self.text(name, default)
        if value not in allowed:
            raise BiremeError(
                "BM1006", f"attribute {name!r} is {value!r}; expected one of {allowed}"
            )
        return value

    def axis(self, axis: int, rank: int) -> int:
        """A non-negative axis of a tensor of `rank`. Raises BM1006."""
        if not -rank <= axis < rank:
            raise BiremeError("BM1006", f"axis {axis} is outside [{-rank}, {rank})")
        return axis % rank

    def axes(self, axes: Sequence[int], rank: int) -> list[int]:
        """Non-negative, sorted, distinct axes. Raises BM1006."""
        found = sorted(self.axis(a, rank) for a in axes)
        if len(set(found)) != len(found):
            raise BiremeError("BM1006", f"axes {list(axes)} repeat an axis")
        return found


def _same(a: AttributeProto, b: AttributeProto) -> bool:
    return a.type == b.type and a.type in _READ and bool(_READ[a.type](a) == _READ[b.type](b))
