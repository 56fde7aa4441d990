"""Bodies of functions: those that a model brings, and those that ONNX defines for its operators."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import AttributeProto, FunctionProto, NodeProto, TypeProto
from onnx.defs import OpSchema

from bireme.frontend.onnx.dtypes import TO_ONNX
from bireme.frontend.onnx.emit import Tensor
from bireme.ir import BiremeError


def schema_function(
    schema: OpSchema, node: NodeProto, opset: int, inputs: Sequence[Tensor | None]
) -> FunctionProto:
    """The body that ONNX gives for an operator. Raises BM1003 when it has none for these inputs."""
    function = FunctionProto()
    if schema.has_context_dependent_function:
        types = [_type_proto(t).SerializeToString() if t else b"" for t in inputs]
        versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
        try:
            text = schema.get_context_dependent_function_with_opset_version(
                max(versions, default=schema.since_version), node.SerializeToString(), types
            )
        except Exception as error:  # nanobind gives C++ exceptions of several kinds
            raise BiremeError("BM1003", f"ONNX gives no body for this use: {error}") from None
        if not text:
            raise BiremeError("BM1003", "ONNX gives no body for this use of the operator")
        function.ParseFromString(text)
        return function
    versions = [v for v in schema.function_opset_versions if v <= opset]
    text = schema.get_function_with_opset_version(max(versions, default=schema.since_version))
    function.ParseFromString(text)
    return function


def _type_proto(tensor: Tensor) -> TypeProto:
    proto = TypeProto()
    proto.tensor_type.elem_type = TO_ONNX[tensor.dtype]
    shape = proto.tensor_type.shape
    for size in tensor.shape:
        dim = shape.dim.add()
        if isinstance(size, int):
            dim.dim_value = size
        else:
            dim.dim_param = str(size)
    return proto


def bind_attributes(
    function: FunctionProto, call: NodeProto, absent: set[str], schema: OpSchema | None = None
) -> list[NodeProto]:
    """The body's nodes with references to the call's attributes replaced by their values.

    `absent` names formal inputs that the call leaves out; nodes then see an empty name. Attributes
    that the call leaves out have the default of the function or of the `schema`.
    """
    known = schema.attributes if schema is not None else {}
    given = {k: a.default_value for k, a in known.items() if a.default_value.type}
    given.update({a.name: a for a in function.attribute_proto})
    given.update({a.name: a for a in call.attribute})
    return [_bound(node, given, absent) for node in function.node]


def _bound(node: NodeProto, given: dict[str, AttributeProto], absent: set[str]) -> NodeProto:
    bound = NodeProto()
    bound.CopyFrom(node)
    for index, name in enumerate(bound.input):
        if name in absent:
            bound.input[index] = ""
    del bound.attribute[:]
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            actual = given.get(attribute.ref_attr_name)
            if actual is None:
                continue
            copy = bound.attribute.add()
            copy.CopyFrom(actual)
            copy.name = attribute.name
        else:
            copy = bound.attribute.add()
            copy.CopyFrom(attribute)
            for graph in [copy.g] if copy.type == AttributeProto.GRAPH else []:
                nodes = [_bound(n, given, absent) for n in graph.node]
                del graph.node[:]
                graph.node.extend(nodes)
    return bound
