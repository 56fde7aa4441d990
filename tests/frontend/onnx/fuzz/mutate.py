"""Mutation of models as structures: any field of any message, found through protobuf's reflection.

What mutations need is drawn from a `random.Random`, so a seed gives the same model every time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from onnx import ModelProto, TensorProto, defs

_INTEGERS = (
    0, 1, -1, 2, 3, 4, 5, 7, 8, 16, 21, 127, 128, 255, 1000, 65536, 1 << 24, (1 << 31) - 1, 1 << 31,
    -(1 << 31), 1 << 32, 1 << 40, 1 << 62, (1 << 63) - 1, -(1 << 63),
)  # fmt: skip
_FLOATS = (0.0, 1.0, -1.0, 0.5, -0.0, 1e-30, 3e38, float("inf"), float("-inf"), float("nan"))
_TEXTS = (
    "", " ", "x", "ai.onnx", "com.microsoft", "\0", "../weights.bin", "/etc/hosts", "a" * 5000, "é",
    "If", "0", "-1", "9" * 30, "NOTSET", "SAME_UPPER", "linear", "bidirectional", "ij,jk->ik",
)  # fmt: skip
_OPERATORS = tuple(sorted({s.name for s in defs.get_all_schemas_with_history()}))
# Beyond this, mutations that copy parts stop: sizes would double with each.
_MOST_BYTES = 1 << 16

_INT_TYPES = frozenset({
    FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64,
})  # fmt: skip
_Field = tuple[Message, FieldDescriptor]


def mutated(
    seeds: Sequence[ModelProto], rng: random.Random, *, most_changes: int = 5
) -> tuple[bytes, str]:
    """The bytes of a changed seed, and a description of the changes."""
    number = rng.randrange(len(seeds))
    model = ModelProto()
    model.CopyFrom(seeds[number])
    notes = [f"seed {number}"]
    for _ in range(rng.randint(1, most_changes)):
        notes.append(change(model, seeds, rng))
    data = bytearray(model.SerializeToString())
    if rng.random() < 0.1:
        notes.append(_damage(data, rng))
    return bytes(data), "; ".join(notes)


def change(model: ModelProto, seeds: Sequence[ModelProto], rng: random.Random) -> str:
    """Changes a model in place; says what it did. `seeds` lend parts."""
    special = rng.random()
    if special < 0.08 and model.ByteSize() < _MOST_BYTES:
        other = rng.choice(seeds).graph
        model.graph.node.extend(other.node)
        model.graph.initializer.extend(other.initializer)
        return "nodes of another seed added"
    if special < 0.12:
        return _nested(model, rng)
    fields = list(_fields(model))
    message, field = rng.choice(fields)
    what = f"{message.DESCRIPTOR.name}.{field.name}"
    if field.is_repeated:
        return f"{what}: {_change_list(message, field, fields, rng)}"
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return f"{what}: {_change_message(message, field, fields, rng)}"
    value = _value(field, fields, rng)
    setattr(message, field.name, value)
    return f"{what} = {value!r:.60}"


def _fields(message: Message) -> Iterator[_Field]:
    """Fields worth changing: those that are set, often, and any other of the same message."""
    for field in message.DESCRIPTOR.fields:
        yield message, field
    for field, value in message.ListFields():
        yield message, field
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            yield message, field
            continue
        for inner in value if field.is_repeated else [value]:
            yield from _fields(inner)


def _change_list(
    message: Message, field: FieldDescriptor, fields: Sequence[_Field], rng: random.Random
) -> str:
    items = getattr(message, field.name)
    kind = rng.choice(["remove", "double", "add", "replace", "clear", "swap"])
    if kind == "clear" or (kind in ("remove", "double", "replace", "swap") and not items):
        del items[:]
        return "cleared"
    at = rng.randrange(len(items)) if items else 0
    if kind == "remove":
        del items[at]
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        if kind == "add":
            donors = _values(field, fields)
            if donors and rng.random() < 0.7:
                donor = _copy(rng.choice(donors))
                items.add().CopyFrom(donor)
            else:
                items.add()
        elif kind == "double":
            donor = _copy(items[at])
            items.add().CopyFrom(donor)
        elif kind == "swap":
            other = rng.randrange(len(items))
            kept = _copy(items[at])
            items[at].CopyFrom(items[other])
            items[other].CopyFrom(kept)
        else:
            items[at].Clear()
    elif kind == "replace":
        items[at] = _value(field, fields, rng)
    elif kind == "double":
        items.append(items[at])
    elif kind == "swap":
        other = rng.randrange(len(items))
        items[at], items[other] = items[other], items[at]
    else:
        items.append(_value(field, fields, rng))
    return f"{kind} {at}"


def _copy(message: Message) -> Message:
    """A copy: protobuf crashes when a message is copied into a part of itself."""
    made = type(message)()
    made.CopyFrom(message)
    return made


def _change_message(
    message: Message, field: FieldDescriptor, fields: Sequence[_Field], rng: random.Random
) -> str:
    donors = _values(field, fields)
    if donors and rng.random() < 0.6:
        donor = _copy(rng.choice(donors))
        getattr(message, field.name).CopyFrom(donor)
        return "copied from elsewhere"
    message.ClearField(field.name)
    if rng.random() < 0.5:
        getattr(message, field.name).SetInParent()
    return "emptied"


def _values(field: FieldDescriptor, fields: Sequence[_Field]) -> list[Message]:
    """Messages of the field's type that the model holds."""
    found = []
    for message, other in fields:
        if other.message_type is not field.message_type:
            continue
        if other.is_repeated:
            found += list(getattr(message, other.name))
        elif message.HasField(other.name):
            found.append(getattr(message, other.name))
    return found


def _value(field: FieldDescriptor, fields: Sequence[_Field], rng: random.Random) -> Any:
    """A value for a scalar field: a special one, or one that a field of its kind has."""
    if field.type == FieldDescriptor.TYPE_ENUM:
        return rng.choice(field.enum_type.values).number
    if field.type in _INT_TYPES:
        low, high = _limits(field)
        if "type" in field.name:  # element types are plain integers
            return rng.choice([*TensorProto.DataType.values(), -1, 99])
        return max(low, min(high, rng.choice(_INTEGERS)))
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return rng.choice(_FLOATS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.choice([b"", b"\0" * 7, b"\xff" * 16, rng.randbytes(rng.randrange(40))])
    if field.name == "op_type":
        return rng.choice(_OPERATORS)
    known = [t for m, f in fields if f.type == field.type for t in _texts(m, f)]
    return rng.choice(known) if known and rng.random() < 0.7 else rng.choice(_TEXTS)


def _limits(field: FieldDescriptor) -> tuple[int, int]:
    return {
        FieldDescriptor.TYPE_INT32: (-(1 << 31), (1 << 31) - 1),
        FieldDescriptor.TYPE_UINT64: (0, (1 << 64) - 1),
    }.get(field.type, (-(1 << 63), (1 << 63) - 1))


def _texts(message: Message, field: FieldDescriptor) -> Sequence[str]:
    value = getattr(message, field.name)
    return list(value) if field.is_repeated else [value]


def _nested(model: ModelProto, rng: random.Random) -> str:
    """The graph as the branches of an `If` of itself, several deep."""
    depth = rng.choice([1, 2, 5, 30])
    for level in range(depth):
        if model.ByteSize() > _MOST_BYTES:
            break
        inner = ModelProto()
        inner.CopyFrom(model)
        node = model.graph.node.add(op_type="If", input=[_first_name(model)], output=[f"n{level}"])
        for name in ("then_branch", "else_branch")[: rng.randint(1, 2)]:
            attribute = node.attribute.add(name=name, type=5)
            attribute.g.CopyFrom(inner.graph)
    return f"nested {depth} deep"


def _first_name(model: ModelProto) -> str:
    names = [i.name for i in model.graph.input]
    return names[-1] if names else ""


def _damage(data: bytearray, rng: random.Random) -> str:
    """Bytes changed, as a broken download has them; names become invalid UTF-8."""
    kinds: list[Callable[[], Any]] = [
        lambda: data.__setitem__(rng.randrange(len(data)), rng.choice([0, 0xFF, 0x80, 0xC3])),
        lambda: data.__delitem__(slice(rng.randrange(len(data)), None)),
        lambda: data.__setitem__(rng.randrange(len(data)), rng.randrange(256)),
    ]
    for _ in range(rng.randint(1, 4)):
        if data:
            rng.choice(kinds)()
    return "bytes damaged"
