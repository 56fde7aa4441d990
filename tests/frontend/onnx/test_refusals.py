"""Models that cannot be imported: every node at once, with its name and the reason."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from bireme.frontend.onnx import check, load
from bireme.ir import BiremeError
from tests.frontend.onnx.support import model


def refused(source: object, **options: object) -> BiremeError:
    """The error that loading raises."""
    with pytest.raises(BiremeError) as error:
        load(source, **options)  # type: ignore[arg-type]
    return error.value


SEVERAL = """g (float[N, 4] x, int64[k] shape) => (float[A, B] y) {
    [flags] n = ImageDecoder(x)
    [twist] r = Reshape(x, shape)
    [noise] u = ImageDecoder(r)
    [good] z = Relu(r)
    f = Cast<to = 1>(u)
    y = Add(z, f)
}"""


def test_all_nodes_are_reported_together() -> None:
    error = refused(model(SEVERAL))
    assert error.code == "BM1003"
    for line in (
        "flags: ImageDecoder-21: image codecs",
        "twist: Reshape-21: input 1 ('shape') is not known when the model is compiled",
        "noise: ImageDecoder-21: image codecs",
    ):
        assert line in error.detail
    assert "good" not in error.detail


def test_what_only_follows_from_a_refused_node_is_not_reported() -> None:
    error = refused(
        model("""g (float[N, 4] x) => (float[A] y)
        <int64[1] zero = {0}, int64[1] one = {1}> {
            [cause] n = ImageDecoder(x)
            s = Cast<to = 7>(n)
            t = Slice(s, zero, one)
            f = Reshape(t, one)
            y = Reshape(x, f)
        }""")
    )
    assert "1 node cannot be imported" in error.detail
    assert "cause" in error.detail


def test_check_lists_what_load_refuses() -> None:
    reports = check(model(SEVERAL))
    assert [(r.name, r.supported) for r in reports if r.name != "good"] == [
        ("flags", False),
        ("twist", False),
        ("noise", False),
        ("Cast_4", True),
        ("Add_5", True),
    ]
    codes = {r.name: r.code for r in reports}
    assert codes["twist"] == "BM1007"
    frozen = check(model(SEVERAL), constants={"shape": helper.np.array([-1, 2])})
    assert [r.name for r in frozen if not r.supported] == ["flags", "noise"]


def test_common_code_is_kept() -> None:
    error = refused(model("g (float[N, 4] x, int64[k] s) => (float[A] y) { y = Reshape(x, s) }"))
    assert error.code == "BM1007"
    assert "Reshape_0" in error.detail
    assert "--constant" in error.hint


def test_unknown_operator_and_domain() -> None:
    source = model(
        "g (float[N] x) => (float[N] y) { a = Fold(x) \n y = shop.Cut(a) }",
        extra=', "shop" : 3',
    )
    error = refused(source)
    assert "Fold_0: Fold-21: opset 21 has no operator 'Fold'" in error.detail
    assert "Cut_1: shop.Cut-3: the operator is not supported" in error.detail


def test_wrong_element_type_names_the_node() -> None:
    error = refused(model("g (int32[N] x) => (int32[N] y) { [root] y = Sqrt(x) }"))
    assert error.code == "BM2003"
    assert "root" in error.detail


def test_unknown_attribute() -> None:
    error = refused(model("g (float[N] x) => (float[N] y) { y = Relu<speed = 3>(x) }"))
    assert error.code == "BM1006"
    assert "'speed'" in error.detail


def test_attribute_of_another_kind() -> None:
    error = refused(model("g (float[N, 2] x) => (float[N, 2] y) { y = Softmax<axis = 1.5>(x) }"))
    assert error.code == "BM1006"
    assert "'axis' must be of kind INT" in error.detail


def test_unsupported_element_type_of_an_input() -> None:
    source = model("g (float[N] x, string[N] s) => (float[N] y) { y = Relu(x) }")
    error = refused(source)
    assert error.code == "BM1003"
    assert "input 's' has element type string" in error.detail


def test_node_inside_a_branch_is_named() -> None:
    error = refused(
        model("""g (float[N] x, bool c) => (float[N] y) {
            [choice] y = If (c) <
                then_branch = then () => (float[N] t) { [bad] t = ImageDecoder(x) },
                else_branch = other () => (float[N] e) { e = Relu(x) }
            >
        }""")
    )
    assert "choice/bad: ImageDecoder-21" in error.detail


def test_newer_opset() -> None:
    source = model("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    source.opset_import[0].version = 99
    assert refused(source).code == "BM1002"


def test_older_opset_unless_the_operator_is_the_same() -> None:
    source = model("g (float[N] x) => (float[N] y) { [same] a = Relu(x) \n [other] y = Add(a, a) }")
    source.opset_import[0].version = 6
    error = refused(source)
    assert error.code == "BM1002"
    assert "other: Add-6" in error.detail
    assert "same" not in error.detail


def test_newer_ir_version() -> None:
    source = model("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    source.ir_version = 1000
    assert refused(source).code == "BM1002"


def test_sparse_initializer() -> None:
    source = model("g (float[2] x) => (float[2] y) { y = Add(x, w) }")
    sparse = source.graph.sparse_initializer.add()
    sparse.dims.append(2)
    sparse.values.CopyFrom(helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]))
    sparse.indices.CopyFrom(helper.make_tensor("", TensorProto.INT64, [1], [0]))
    error = refused(source)
    assert error.code == "BM1003"
    assert "'w'" in error.detail


def test_input_without_rank() -> None:
    source = model("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    source.graph.input[0].type.tensor_type.ClearField("shape")
    assert refused(source).code == "BM1007"


def test_missing_file(tmp_path: Path) -> None:
    error = refused(tmp_path / "none.onnx")
    assert error.code == "BM6001"
    assert "none.onnx" in str(error)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07\x12", b"\xff" * 100])
def test_file_that_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    error = refused(path)
    assert error.code == "BM1001"
    assert "broken.onnx" in error.where
    assert refused(content).code == "BM1001"


def test_every_truncation_of_a_model_is_an_error() -> None:
    content = model(
        """g (float[N, 2] x) => (float[N, 3] y) <float[2, 3] w = {1, 2, 3, 4, 5, 6}> {
            y = MatMul(x, w)
        }"""
    ).SerializeToString()
    load(content)
    for length in range(len(content)):
        try:
            load(content[:length])
        except BiremeError:
            continue
        # Protobuf allows a cut between two fields; the rest must then still be a whole model.
        assert onnx.load_model_from_string(content[:length]).graph.output


def test_source_types_agree(tmp_path: Path) -> None:
    source: ModelProto = model("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    path = tmp_path / "m.onnx"
    onnx.save(source, path)
    texts = {load(s).text() for s in (source, source.SerializeToString(), path, str(path))}
    assert len(texts) == 1
