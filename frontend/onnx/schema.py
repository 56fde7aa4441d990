"""Nodes against ONNX's own operator schemas: attributes, and counts of inputs and outputs."""

from __future__ import annotations

from onnx import AttributeProto, NodeProto, defs

from bireme.frontend.onnx.model import NEWEST_OPSET, OLDEST_OPSET
from bireme.ir import BiremeError

_KINDS = {
    defs.OpSchema.AttrType.INT: AttributeProto.INT,
    defs.OpSchema.AttrType.FLOAT: AttributeProto.FLOAT,
    defs.OpSchema.AttrType.STRING: AttributeProto.STRING,
    defs.OpSchema.AttrType.INTS: AttributeProto.INTS,
    defs.OpSchema.AttrType.FLOATS: AttributeProto.FLOATS,
    defs.OpSchema.AttrType.STRINGS: AttributeProto.STRINGS,
    defs.OpSchema.AttrType.TENSOR: AttributeProto.TENSOR,
    defs.OpSchema.AttrType.GRAPH: AttributeProto.GRAPH,
}

# ONNX Runtime's tools write these into ONNX's domain, whatever the opset.
_ANY_OPSET = frozenset({"LayerNormalization", "SimplifiedLayerNormalization"})


def find_schema(op: str, domain: str, opset: int) -> defs.OpSchema | None:
    """ONNX's schema of an operator, or None when ONNX does not define it."""
    try:
        return defs.get_schema(op, min(opset, NEWEST_OPSET), domain)
    except defs.SchemaError:
        return None


def check_node(proto: NodeProto, domain: str, opset: int) -> defs.OpSchema | None:
    """The operator's schema. Raises BM1003 when the opset lacks it, BM1005, BM1006 for misuse."""
    if opset <= 0:
        raise BiremeError("BM1005", f"the model does not import domain {domain or 'ai.onnx'!r}")
    schema = find_schema(proto.op_type, domain, opset)
    if schema is None:
        if domain == "" and proto.op_type not in _ANY_OPSET:
            raise BiremeError("BM1003", f"opset {opset} has no operator {proto.op_type!r}")
        return None
    if domain == "" and opset < OLDEST_OPSET:
        _check_unchanged(proto.op_type, schema)
    for what, count, least, most in (
        ("inputs", len(proto.input), schema.min_input, schema.max_input),
        ("outputs", len(proto.output), schema.min_output, schema.max_output),
    ):
        if not least <= count <= most:
            raise BiremeError("BM1005", f"{count} {what}; the operator takes {least} to {most}")
    for attribute in proto.attribute:
        known = schema.attributes.get(attribute.name)
        if known is None:
            raise BiremeError("BM1006", f"the operator has no attribute {attribute.name!r}")
        kind = _KINDS.get(known.type)
        if kind is not None and attribute.type != kind:
            wanted = AttributeProto.AttributeType.Name(kind)
            raise BiremeError("BM1006", f"attribute {attribute.name!r} must be of kind {wanted}")
    return schema


def _check_unchanged(op: str, schema: defs.OpSchema) -> None:
    """Raises BM1002 unless the oldest supported opset has the same form of the operator."""
    oldest = find_schema(op, "", OLDEST_OPSET)
    if oldest is None or oldest.since_version != schema.since_version:
        raise BiremeError(
            "BM1002",
            f"the operator as of opset {schema.since_version}; the oldest supported opset is "
            f"{OLDEST_OPSET}",
            hint="raise the model's opset with onnx.version_converter",
        )
