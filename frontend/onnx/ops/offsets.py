"""What is certain of numbers that are data: by how much one is above another."""

from __future__ import annotations

from bireme.frontend.onnx.emit import Tensor
from bireme.ir import Dim, Value

_SHOWS = ("reshape", "cast")


def shown(value: Value) -> Value:
    """The value whose elements a chain of reshapes and casts shows."""
    owner = value.owner
    while owner is not None and owner.name in _SHOWS:
        value = owner.operands[0]
        owner = value.owner
    return value


def known_size(value: Value) -> Dim | None:
    """The only element of a value, as a size, if it is known."""
    value = shown(value)
    array, owner = value.constant, value.owner
    if array is not None and array.size == 1 and array.dtype.kind in "iu":
        return int(array.reshape(-1)[0])
    if owner is not None and owner.name == "dim_values" and len(owner.attrs["values"]) == 1:
        found: Dim = owner.attrs["values"][0]
        return found
    return None


def above(value: Value | None, base: Value | None) -> int | None:
    """What `value` is above `base`, if that is certain: both are one number, and something more."""
    if value is None or base is None:
        return None
    (one, more), (other, less) = _parts(value), _parts(base)
    return more - less if one == other else None


def _parts(value: Value) -> tuple[Value, int]:
    """A value, and what is added to it in the end."""
    value, total = shown(value), 0
    while value.owner is not None and value.owner.name == "add":
        a, b = value.owner.operands
        for one, amount in ((a, b), (b, a)):
            found = known_size(amount)
            if isinstance(found, int):
                value, total = shown(one), total + found
                break
        else:
            break
    return value, total


def tensor_above(x: Tensor, base: Tensor) -> int | None:
    """`above` for tensors of one element."""
    return above(x.value, base.value) if x.type.elements == base.type.elements == 1 else None
