"""The converters, by domain and operator. One file for each family."""

from __future__ import annotations

from bireme.frontend.onnx.node import Converter
from bireme.frontend.onnx.ops import (
    activation,
    contraction,
    control,
    data_sized,
    deformable,
    elementwise,
    gather,
    loop,
    microsoft,
    microsoft_attention,
    microsoft_decoder,
    microsoft_quantized,
    normalization,
    pooling,
    quantization,
    random,
    recurrent,
    reduction,
    reshaping,
    resize,
    sequence,
    shape,
    signal,
    slicing,
    source,
    text,
)
from bireme.frontend.onnx.ops.table import Table, versions

_MICROSOFT = (
    microsoft.TABLE,
    microsoft_attention.TABLE,
    microsoft_decoder.TABLE,
    microsoft_quantized.TABLE,
)
_FAMILIES: tuple[Table, ...] = (
    activation.TABLE,
    contraction.TABLE,
    control.TABLE,
    data_sized.TABLE,
    deformable.TABLE,
    elementwise.TABLE,
    gather.TABLE,
    loop.TABLE,
    normalization.TABLE,
    pooling.TABLE,
    quantization.TABLE,
    random.TABLE,
    recurrent.TABLE,
    reduction.TABLE,
    reshaping.TABLE,
    resize.TABLE,
    sequence.TABLE,
    shape.TABLE,
    signal.TABLE,
    slicing.TABLE,
    source.TABLE,
    text.TABLE,
)


def _merged(families: tuple[Table, ...]) -> Table:
    table = {name: entry for family in families for name, entry in family.items()}
    assert len(table) == sum(map(len, families)), "an operator is in two families"
    return table


TABLES: dict[str, Table] = {"": _merged(_FAMILIES), "com.microsoft": _merged(_MICROSOFT)}


# Why an operator without a converter has none, where there is more to say than that.
_REASONS = {
    "ImageDecoder": "image codecs are no part of the runtime; decode before the model",
}


def reason_for_none(domain: str, op: str) -> str:
    """What to say of an operator that has no converter."""
    return _REASONS.get(op if domain == "" else "", "the operator is not supported")


def find_converter(domain: str, op: str, opset: int) -> Converter | None:
    """The converter for an operator at an opset, or None."""
    entry = TABLES.get(domain, {}).get(op)
    if entry is None:
        return None
    chosen = None
    for since, converter in versions(entry):
        if opset >= since:
            chosen = converter
    return chosen
