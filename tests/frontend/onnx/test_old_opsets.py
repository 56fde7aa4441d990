"""Operators as opsets 7 to 12 had them, where that differs from now, against ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from bireme.ir import Array
from tests.frontend.onnx.support import model, onnxruntime_run, random, run


@dataclass(frozen=True)
class Old:
    """One use of an operator: the opset, the nodes, and types and data around them."""

    opset: int
    nodes: str
    inputs: dict[str, Array]
    outputs: str = "float[N, M, O] y"
    constants: str = ""


X, FOUR = random(2, 3, 4), random(1, 2, 4, 6)
IDS = np.array([[0, 2], [1, 1]], np.int64)

OLD: dict[str, Old] = {
    "slice 1": Old(
        7, "y = Slice<axes = [0, 2], starts = [0, -3], ends = [1, 100]>(x)", {"x": X}
    ),
    "slice 1 without axes": Old(7, "y = Slice<starts = [1, 0], ends = [2, -1]>(x)", {"x": X}),
    "clip 6": Old(7, "y = Clip<min = -0.5, max = 0.25>(x)", {"x": X}),
    "clip 6 without a bound": Old(7, "y = Clip<max = 0.25>(x)", {"x": X}),
    "clip 11": Old(11, "y = Clip(x, low)", {"x": X}, constants="<float low = {-0.5}>"),
    "dropout 7": Old(7, "y = Dropout<ratio = 0.5>(x)", {"x": X}),
    "dropout 10": Old(
        10, "y = Dropout(x)", {"x": X}
    ),
    "batch normalisation 7": Old(
        7, "y = BatchNormalization<epsilon = 0.01, momentum = 0.9>(x, s, b, m, v)",
        {"x": FOUR, "s": random(2), "b": random(2, seed=1), "m": random(2, seed=2),
         "v": random(2, seed=3) ** 2}, "float[A, B, C, D] y",
    ),
    "batch normalisation 9": Old(
        9, "y = BatchNormalization(x, s, b, m, v)",
        {"x": FOUR, "s": random(2), "b": random(2, seed=1), "m": random(2, seed=2),
         "v": random(2, seed=3) ** 2}, "float[A, B, C, D] y",
    ),
    "softmax 1 over all later axes": Old(7, "y = Softmax(x)", {"x": X}),
    "softmax 11 over two axes": Old(11, "y = Softmax<axis = 1>(x)", {"x": X}),
    "log softmax 1": Old(7, "y = LogSoftmax<axis = 0>(x)", {"x": X}),
    "hardmax 11": Old(11, "y = Hardmax<axis = 1>(x)", {"x": X}),
    "pad 2": Old(7, "y = Pad<pads = [0, 1, 0, 0, 0, 2], value = 1.5>(x)", {"x": X}),
    "pad 2 reflecting": Old(
        7, """y = Pad<mode = "reflect", pads = [0, 1, 2, 0, 1, 1]>(x)""", {"x": X}
    ),
    "pad 11": Old(
        11, "y = Pad(x, p, v)", {"x": X},
        constants="<int64[6] p = {0, 1, 0, 0, 0, 2}, float v = {1.5}>",
    ),
    "upsample 7": Old(
        7, "y = Upsample<scales = [1.0, 1.0, 2.0, 3.0]>(x)", {"x": FOUR}, "float[A, B, C, D] y"
    ),
    "upsample 9 linear": Old(
        9, """y = Upsample<mode = "linear">(x, s)""", {"x": FOUR}, "float[A, B, C, D] y",
        "<float[4] s = {1.0, 1.0, 2.0, 1.5}>",
    ),
    "resize 10": Old(
        10, """y = Resize<mode = "linear">(x, s)""", {"x": FOUR}, "float[A, B, C, D] y",
        "<float[4] s = {1.0, 1.0, 1.5, 2.0}>",
    ),
    "resize 10 smaller": Old(
        10, "y = Resize(x, s)", {"x": FOUR}, "float[A, B, C, D] y",
        "<float[4] s = {1.0, 1.0, 0.5, 0.5}>",
    ),
    "top k 1": Old(7, "y, i = TopK<k = 2>(x)", {"x": X}, "float[N, M, O] y, int64[N, M, O] i"),
    "top k 10": Old(
        10, "y, i = TopK<axis = 1>(x, k)", {"x": X}, "float[N, M, O] y, int64[N, M, O] i",
        "<int64[1] k = {2}>",
    ),
    "reduce sum 1": Old(7, "y = ReduceSum<axes = [1], keepdims = 0>(x)", {"x": X}, "float[N, M] y"),
    "reduce mean of everything": Old(7, "y = ReduceMean(x)", {"x": X}),
    "squeeze 1": Old(7, "y = Squeeze<axes = [0]>(x)", {"x": X[:1]}, "float[N, M] y"),
    "unsqueeze 1": Old(
        7, "y = Unsqueeze<axes = [0, 4]>(x)", {"x": X}, "float[A, B, C, D, E] y"
    ),
    "split 2": Old(
        7, "y, z = Split<axis = 2, split = [1, 3]>(x)", {"x": X},
        "float[N, M, O] y, float[N, M, P] z",
    ),
    "gather 1": Old(7, "y = Gather<axis = 1>(x, i)", {"x": X, "i": IDS}, "float[A, B, C, D] y"),
    "scatter 9": Old(
        9, "y = Scatter<axis = 1>(x, i, u)", {"x": random(2, 3), "i": IDS, "u": random(2, 2)},
        "float[N, M] y",
    ),
    "equal 7": Old(7, "y = Equal(a, b)", {"a": IDS, "b": IDS[:1]}, "bool[N, M] y"),
    "add 7": Old(7, "y = Add(x, b)", {"x": X, "b": random(4)}),
    "prelu 7": Old(7, "y = PRelu(x, s)", {"x": X, "s": random(3, 1)}),
    "gemm 7": Old(
        7, "y = Gemm<transB = 1, alpha = 0.5>(a, b, c)",
        {"a": random(2, 3), "b": random(4, 3), "c": random(4)}, "float[N, M] y",
    ),
    "flatten 1": Old(7, "y = Flatten<axis = 2>(x)", {"x": X}, "float[N, M] y"),
    "max pool 1": Old(
        7, """y = MaxPool<kernel_shape = [2, 2], auto_pad = "SAME_UPPER">(x)""", {"x": FOUR},
        "float[A, B, C, D] y",
    ),
    "average pool 7": Old(
        7, "y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>(x)",
        {"x": FOUR}, "float[A, B, C, D] y",
    ),
    "largest of regions": Old(
        7, "y = MaxRoiPool<pooled_shape = [2, 3], spatial_scale = 0.5>(x, r)",
        {"x": random(2, 3, 7, 9), "r": np.array(
            [[0, 0, 0, 8, 8], [1, 3, 1, 16, 13], [1, 4, 4, 4, 4], [0, 20, 2, 30, 40]], np.float32)},
        "float[A, B, C, D] y",
    ),
    "cast 6": Old(7, "y = Cast<to = 7>(x)", {"x": X * 10}, "int64[N, M, O] y"),
    "constant of shape 9": Old(
        9, "y = ConstantOfShape<value = float[1] {2.0}>(s)", {},
        constants="<int64[3] s = {1, 2, 3}>",
    ),
    "mean variance normalisation 9": Old(
        9, "y = MeanVarianceNormalization(x)", {"x": FOUR}, "float[A, B, C, D] y"
    ),
    "cumulative sum 11": Old(11, "y = CumSum(x, a)", {"x": X}, constants="<int64 a = {1}>"),
    "one hot 9": Old(
        9, "y = OneHot(i, d, v)", {"i": IDS}, constants="<int64 d = {4}, float[2] v = {0.5, 2.0}>"
    ),
    "depth to space 1": Old(
        7, "y = DepthToSpace<blocksize = 2>(x)", {"x": random(1, 8, 2, 3)}, "float[A, B, C, D] y"
    ),
    "lstm 7": Old(
        7, "y, h, c = LSTM<hidden_size = 3>(x, w, r)",
        {"x": random(5, 2, 4), "w": random(1, 12, 4), "r": random(1, 12, 3)},
        "float[A, B, C, D] y, float[E, F, G] h, float[H, I, J] c",
    ),
    "gru 7": Old(
        7, """y, h = GRU<hidden_size = 3, direction = "reverse">(x, w, r, b)""",
        {"x": random(5, 2, 4), "w": random(1, 9, 4), "r": random(1, 9, 3), "b": random(1, 18)},
        "float[A, B, C, D] y, float[E, F, G] h",
    ),
    "rnn 7": Old(
        7, "y, h = RNN<hidden_size = 3>(x, w, r)",
        {"x": random(5, 2, 4), "w": random(1, 3, 4), "r": random(1, 3, 3)},
        "float[A, B, C, D] y, float[E, F, G] h",
    ),
    "instance normalisation 6": Old(
        7, "y = InstanceNormalization(x, s, b)", {"x": FOUR, "s": random(2), "b": random(2)},
        "float[A, B, C, D] y",
    ),
    "local response normalisation 1": Old(
        7, "y = LRN<size = 3, alpha = 0.01>(x)", {"x": random(1, 5, 3, 3)}, "float[A, B, C, D] y"
    ),
    "transposed convolution 1": Old(
        7, "y = ConvTranspose<strides = [2, 2], output_padding = [1, 1]>(x, w)",
        {"x": FOUR, "w": random(2, 3, 3, 3)}, "float[A, B, C, D] y",
    ),
    "lp pool 2": Old(
        7, "y = LpPool<kernel_shape = [2, 2], p = 1>(x)", {"x": FOUR}, "float[A, B, C, D] y"
    ),
    "global lp pool 2": Old(7, "y = GlobalLpPool<p = 3>(x)", {"x": FOUR}, "float[A, B, C, D] y"),
    "quantise 10": Old(
        10, "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)", {"x": X},
        constants="<float s = {0.1}, uint8 z = {128}>",
    ),
    "region alignment 10": Old(
        10, "y = RoiAlign<output_height = 2, output_width = 2, spatial_scale = 0.5>(x, r, i)",
        {"x": random(2, 3, 7, 9), "r": np.array([[0, 0, 8, 8], [3, 1, 16, 13]], np.float32),
         "i": np.array([0, 1])}, "float[A, B, C, D] y",
    ),
    "largest place 1": Old(
        7, "y = ArgMax<axis = 1, keepdims = 0>(x)", {"x": X}, "int64[N, M] y"
    ),
    "power 7": Old(7, "y = Pow(x, e)", {"x": abs(X), "e": random(4)}),
    "loop 1": Old(
        8, """y = Loop(limit, , x) <body = step (int64 i, bool go, float[N] v)
            => (bool more, float[N] w) { more = Identity(go) w = Add(v, v) }>""",
        {"x": random(3)}, "float[N] y", "<int64 limit = {3}>",
    ),
    "tile 6": Old(7, "y = Tile(x, r)", {"x": X}, constants="<int64[3] r = {1, 2, 1}>"),
    "expand 8": Old(8, "y = Expand(x, s)", {"x": X}, constants="<int64[3] s = {1, 1, 4}>"),
    "layer normalisation before opset 17": Old(
        12, "y = LayerNormalization<epsilon = 0.001>(x, s, b)",
        {"x": X, "s": random(4), "b": random(4, seed=1)},
    ),
    "simplified layer normalisation": Old(
        17, "y = SimplifiedLayerNormalization<epsilon = 0.001>(x, s)", {"x": X, "s": random(4)}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OLD)
def test_operator(name: str) -> None:
    case = OLD[name]
    kinds = {"float32": "float", "int64": "int64"}
    inputs = ", ".join(
        f"{kinds[str(v.dtype)]}[{', '.join(map(str, v.shape))}] {k}" for k, v in case.inputs.items()
    )
    source = model(
        f"g ({inputs}) => ({case.outputs}) {case.constants} {{ {case.nodes} }}", case.opset
    )
    found, expected = run(source, case.inputs), onnxruntime_run(source, case.inputs)
    assert list(found) == list(expected)
    for output, wanted in expected.items():
        assert found[output].dtype == wanted.dtype
        np.testing.assert_allclose(found[output], wanted, rtol=1e-5, atol=1e-6)
