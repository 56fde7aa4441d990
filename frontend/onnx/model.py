"""Reading an ONNX model and checking what holds for the whole of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from bireme.frontend.onnx.tensors import TensorReader
from bireme.ir import BiremeError

OLDEST_OPSET = 7
NEWEST_OPSET = onnx.defs.onnx_opset_version()

# As deep as protobuf reads by itself.
_MOST_DEPTH = 100
_TENSOR_TEXTS = [TensorProto.DESCRIPTOR.fields_by_name[n] for n in ("name", "external_data")]

Source: TypeAlias = str | os.PathLike[str] | bytes | ModelProto


def read_model(source: Source) -> tuple[ModelProto, TensorReader]:
    """The model and the reader of its tensors.

    Raises BM6001 for an unreadable file, BM1001 for one that is not ONNX, BM1002 for versions.
    """
    folder = None
    if isinstance(source, bytes):
        model = _parse(source, "the bytes given")
    elif isinstance(source, str | os.PathLike):
        path = Path(source)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BiremeError("BM6001", str(error.strerror), where=str(path)) from None
        model, folder = _parse(content, str(path)), path.parent
    else:
        model = source
    _check_texts(model)
    _check_versions(model)
    return model, TensorReader(folder)


def _parse(content: bytes, where: str) -> ModelProto:
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise BiremeError("BM1001", f"no valid protobuf: {error}", where=where) from None
    if not model.HasField("graph") or not model.opset_import:
        raise BiremeError("BM1001", "the file has no graph or no opset", where=where)
    return model


def _check_texts(message: Message, depth: int = 0) -> None:
    """Raises BM1001 for text that is not UTF-8: protobuf gives it as bytes, where it gives str."""
    if depth > _MOST_DEPTH:
        raise BiremeError("BM1001", f"messages are nested more than {_MOST_DEPTH} deep")
    for field, value in _fields(message):
        values = value if field.is_repeated else (value,)
        if field.type == field.TYPE_MESSAGE:
            for inner in values:
                _check_texts(inner, depth + 1)
        elif field.type == field.TYPE_STRING and any(isinstance(text, bytes) for text in values):
            name = f"{message.DESCRIPTOR.name}.{field.name}"
            raise BiremeError("BM1001", f"a text ({name}) is not UTF-8")


def _fields(message: Message) -> list[tuple[Any, Any]]:
    """Fields of a message with their values; of a tensor only text, for the others copy data."""
    if isinstance(message, TensorProto):
        return [(field, getattr(message, field.name)) for field in _TENSOR_TEXTS]
    found: list[tuple[Any, Any]] = message.ListFields()
    return found


def _check_versions(model: ModelProto) -> None:
    if model.ir_version > onnx.IR_VERSION:
        raise BiremeError(
            "BM1002", f"IR version {model.ir_version}; the newest known is {onnx.IR_VERSION}"
        )
    opset = opsets_of(model).get("")
    if opset is None:
        return
    if opset > NEWEST_OPSET:
        raise BiremeError("BM1002", f"opset {opset}; the newest known is {NEWEST_OPSET}")


def opsets_of(model: ModelProto | onnx.FunctionProto) -> dict[str, int]:
    """Domain → opset version; the default domain is the empty name."""
    return {plain_domain(o.domain): o.version for o in model.opset_import}


def plain_domain(domain: str) -> str:
    """The domain with the default domain's long name made empty."""
    return "" if domain == "ai.onnx" else domain


def node_names(nodes: list[NodeProto] | GraphProto, prefix: str = "") -> list[str]:
    """A name for each node: its own, or `Op_<index>`."""
    items = nodes.node if isinstance(nodes, GraphProto) else nodes
    return [f"{prefix}{n.name or f'{n.op_type}_{i}'}" for i, n in enumerate(items)]
