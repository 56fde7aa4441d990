"""Malformed and hostile models end in a BiremeError, quickly."""

from __future__ import annotations

import random as random_numbers
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

from bireme.frontend.onnx import check, load
from bireme.ir import BiremeError, reference
from tests.frontend.onnx.support import model, random, run


def refused(source: object) -> BiremeError:
    """The error that loading raises."""
    with pytest.raises(BiremeError) as error:
        load(source)  # type: ignore[arg-type]
    return error.value


def test_cycle() -> None:
    error = refused(
        model("g (float[N] x) => (float[N] y) { a = Add(x, b) \n b = Relu(a) \n y = Relu(b) }")
    )
    assert error.code == "BM1005"
    assert "value 'b' is not defined before it is read" in error.detail


def test_value_defined_twice() -> None:
    error = refused(model("g (float[N] x) => (float[N] y) { y = Relu(x) \n [again] y = Relu(x) }"))
    assert (error.code, error.where) == ("BM1005", "again")


def test_initializer_twice() -> None:
    source = model("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }")
    source.graph.initializer.append(source.graph.initializer[0])
    assert refused(source).code == "BM1005"


def test_two_inputs_of_one_name() -> None:
    source = model("g (float[2] x, float[2] z) => (float[2] y) { y = Relu(x) }")
    source.graph.input[1].name = "x"
    assert refused(source).code == "BM1005"


def test_output_that_nothing_makes() -> None:
    error = refused(model("g (float[N] x) => (float[N] z) { y = Relu(x) }"))
    assert error.code == "BM1005"
    assert "'z'" in error.where


def test_too_few_inputs() -> None:
    source = model("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    del source.graph.node[0].input[:]
    assert refused(source).code == "BM1005"
    source.graph.node[0].input.append("")
    assert refused(source).code == "BM1005"


def test_shapes_that_do_not_fit_name_the_node() -> None:
    error = refused(
        model("g (float[2, 3] x, float[4, 5] w) => (float[2, 5] y) { [product] y = MatMul(x, w) }")
    )
    assert error.code == "BM2004"
    assert "product" in error.detail


def tensor(dims: list[int], raw: bytes = b"") -> ModelProto:
    """A model whose initializer has these sizes and this data."""
    source = model("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }")
    weight = source.graph.initializer[0]
    weight.ClearField("float_data")
    weight.ClearField("dims")
    weight.dims.extend(dims)
    weight.raw_data = raw
    return source


@pytest.mark.parametrize("dims", [[-1], [1 << 62], [1 << 32, 1 << 32], [3], [2, 2]])
def test_initializer_whose_data_does_not_fit(dims: list[int]) -> None:
    error = refused(tensor(dims, np.ones(2, np.float32).tobytes()))
    assert error.code == "BM1005"
    assert "'w'" in str(error)


def test_typed_data_that_does_not_fit() -> None:
    source = tensor([3])
    source.graph.initializer[0].ClearField("raw_data")
    source.graph.initializer[0].float_data.extend([1.0, 2.0])
    assert refused(source).code == "BM1005"


def test_absurd_input_and_constant_sizes() -> None:
    source = model("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    source.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1 << 62
    assert refused(source).code == "BM1005"
    big = "g () => (float[N] y) <int64[1] n = {4611686018427387904}> { y = ConstantOfShape(n) }"
    assert refused(model(big)).code == "BM1006"


def test_shape_arithmetic_that_explodes() -> None:
    steps = "\n".join(f"s{i + 1} = Mul(s{i}, s{i})" for i in range(60))
    source = model(
        f"g (float[N] x) => (int64[1] y) {{ s0 = Shape(x) \n {steps} \n y = Identity(s60) }}"
    )
    load(source)  # beyond a size that is expressible it is ordinary run-time arithmetic
    load(source, dims={"N": 3})


ABSURD = {
    "parts": (
        "g (float[1073741824] x) => (float[N] y) { y = Split<num_outputs = 1073741824>(x) }",
        "BM1006",
    ),
    "sequence": (
        """g (float[16777216] x) => (float[N] y) <int64 zero = {0}, int64 one = {1}> {
            s = SplitToSequence(x, one)
            y = SequenceAt(s, zero)
        }""",
        "BM1003",
    ),
    "columns": (
        """g (float[1, 4, 4] x) => (float[A, B, C, D] y)
        <int64[2] image = {1073741824, 1073741824}, int64[2] block = {2, 2}> {
            y = Col2Im(x, image, block)
        }""",
        "BM1006",
    ),
    "squares": (
        "g (float[N] s0) => (float[M] y) <int64[2] c = {-1, 1}, int64[1] r = {-1}> {\n"
        + "\n".join(
            f"""a{i} = Reshape(s{i}, c) \n m{i} = Mul(a{i}, s{i}) \n s{i + 1} = Reshape(m{i}, r)"""
            for i in range(40)
        )
        + "\n y = Relu(s40) }",
        "BM2012",
    ),
    "quotients": (
        "g (float[N] x) => (float[M] y) <int64[1] two = {2}, int64[1] one = {1}> { s0 = Shape(x) \n"
        + "\n".join(
            f"""a{i} = Div(s{i}, two) \n b{i} = Mod(s{i}, two)
            c{i} = Mul(a{i}, b{i}) \n s{i + 1} = Add(c{i}, one)"""
            for i in range(40)
        )
        + "\n y = ConstantOfShape(s40) }",
        "BM1007",
    ),
    "extremes": (
        "g (float[N] x, float[M] z) => (float[K] y) { s0 = Shape(x) \n t = Shape(z) \n"
        + "\n".join(
            f"a{i} = Max(s{i}, t) \n b{i} = Min(s{i}, t) \n s{i + 1} = Mul(a{i}, b{i})"
            for i in range(40)
        )
        + "\n y = ConstantOfShape(s40) }",
        "BM1007",
    ),
}


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_counts_and_sizes_are_refused(name: str) -> None:
    body, code = ABSURD[name]
    assert refused(model(body)).code == code


def test_a_row_of_absurdly_many_is_not_calculated_at_import() -> None:
    graph = load(model("""g () => (float[N] y) <int64[1] n = {1073741824}, int64[1] i = {5}> {
        z = ConstantOfShape(n)
        y = Gather(z, i)
    }"""))  # fmt: skip
    assert "gather" in [op.name for op in graph.walk()]


def test_functions_that_multiply_end_in_an_error() -> None:
    functions = "\n".join(
        f"""<domain: "shop", opset_import: ["" : 21, "shop" : 1]>
        F{i} (x) => (y) {{
            {" ".join(f"a{k} = shop.F{i + 1}(x)" for k in range(64))} y = Relu(a0)
        }}"""
        for i in range(8)
    )
    functions += '\n<domain: "shop", opset_import: ["" : 21]> F8 (x) => (y) { y = Bad(x) }'
    source = model("g (float[2] x) => (float[2] y) { y = shop.F0(x) }", functions=functions,
                   extra=', "shop" : 1')  # fmt: skip
    error = refused(source)
    assert error.code == "BM1005"
    assert "calls of functions" in str(error)


def test_deeply_nested_functions() -> None:
    functions = "\n".join(
        f"""<domain: "shop", opset_import: ["" : 21, "shop" : 1]>
        F{i} (x) => (y) {{ y = shop.F{i + 1}(x) }}"""
        for i in range(40)
    )
    functions += '\n<domain: "shop", opset_import: ["" : 21]> F40 (x) => (y) { y = Relu(x) }'
    source = model("g (float[2] x) => (float[2] y) { y = shop.F0(x) }", functions=functions,
                   extra=', "shop" : 1')  # fmt: skip
    error = refused(source)
    assert error.code == "BM1005"
    assert "nested" in error.detail


def test_damaged_bytes_never_raise_anything_else() -> None:
    content = model("""g (float[N, 3, 8, 8] x) => (float[A, B] y)
    <float[4, 3, 3, 3] w, int64[2] shape = {0, -1}> {
        c = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, x)
        r = Relu(c)
        p = MaxPool<kernel_shape = [2, 2]>(r)
        y = Reshape(p, shape)
    }""").SerializeToString()
    rng = random_numbers.Random(7)
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 6)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            check(bytes(damaged))
        except BiremeError:
            continue


@pytest.mark.parametrize("name", [b"input_name", b"node_name", b"weight_name", b"size_name"])
def test_text_that_is_not_utf8(name: bytes) -> None:
    content = model("""g (float[size_name] input_name) => (float[size_name] y)
    <float weight_name = {2}> { [node_name] y = Mul(input_name, weight_name) }""")
    data = content.SerializeToString().replace(name, b"\xff" * len(name))
    assert refused(data).code == "BM1001"
    assert refused(ModelProto.FromString(data)).code == "BM1001"


# --- external data --------------------------------------------------------------------------------


def external(folder: Path, location: str, offset: int = 0, length: int | None = None) -> Path:
    """A model file whose weights lie at `location`."""
    source = tensor([2])
    weight = source.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": str(offset)}
    if length is not None:
        entries["length"] = str(length)
    for key, value in entries.items():
        weight.external_data.add(key=key, value=value)
    folder.mkdir(exist_ok=True)
    path = folder / "model.onnx"
    path.write_bytes(source.SerializeToString())
    return path


WEIGHTS = np.array([3, 5], np.float32)


def test_external_data_is_mapped(tmp_path: Path) -> None:
    path = external(tmp_path, "w.bin", offset=16)
    (tmp_path / "w.bin").write_bytes(bytes(16) + WEIGHTS.tobytes())
    graph = load(path)
    x = random(2)
    np.testing.assert_array_equal(reference.run(graph, {"x": x})["y"], x + WEIGHTS)
    weight = graph.weights["w"]
    assert not weight.flags.owndata
    assert not weight.flags.writeable


@pytest.mark.parametrize("location", ["../w.bin", "a/../../w.bin", "", ".", "missing.bin", "\0"])
def test_external_data_outside_or_missing(tmp_path: Path, location: str) -> None:
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    assert refused(external(tmp_path / "model", location)).code == "BM1004"


def test_external_data_by_absolute_path(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    assert refused(external(tmp_path, str(tmp_path / "w.bin"))).code == "BM1004"


def test_external_data_through_a_link_outside(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    path = external(tmp_path / "model", "link.bin")
    (tmp_path / "model" / "link.bin").symlink_to(tmp_path / "w.bin")
    assert refused(path).code == "BM1004"


@pytest.mark.parametrize(
    ("offset", "length"), [(4, None), (1 << 60, None), (-1, None), (0, -1), (0, 1 << 62)]
)
def test_external_data_that_is_too_short(tmp_path: Path, offset: int, length: int | None) -> None:
    path = external(tmp_path, "w.bin", offset, length)
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    assert refused(path).code == "BM1004"


def test_external_data_without_a_folder(tmp_path: Path) -> None:
    path = external(tmp_path, "w.bin")
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    assert refused(path.read_bytes()).code == "BM1004"


def test_initializer_is_not_copied() -> None:
    source = tensor([2], WEIGHTS.tobytes())
    graph = load(source)
    assert not graph.weights["w"].flags.owndata
    x = random(2)
    np.testing.assert_array_equal(run(source, {"x": x})["y"], x + WEIGHTS)


def test_four_bit_weights_are_unpacked() -> None:
    source = model("""g (float[4] x) => (float[4] y) <float s = {0.5}> {
        d = DequantizeLinear(w, s)
        y = Add(x, d)
    }""")
    values = np.array([-8, 7, 0, -1], ml_dtypes.int4)
    source.graph.initializer.append(numpy_helper.from_array(values, "w"))
    x = random(4)
    expected = x + np.array([-4, 3.5, 0, -0.5], np.float32)
    np.testing.assert_array_equal(run(source, {"x": x})["y"], expected)


def test_half_precision_in_typed_fields() -> None:
    source = model("g (float16[2] x) => (float16[2] y) <float16[2] w> { y = Add(x, w) }")
    del source.graph.initializer[:]
    values = np.array([0.5, 2], np.float16)
    words = values.view(np.uint16).tolist()
    weight = source.graph.initializer.add(name="w", data_type=TensorProto.FLOAT16, dims=[2])
    weight.int32_data.extend(words)
    found = run(source, {"x": np.ones(2, np.float16)})["y"]
    np.testing.assert_array_equal(found, values + 1)
