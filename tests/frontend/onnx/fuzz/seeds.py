"""The corpus: small valid models, made when they are needed.

One for each operator, from ONNX's own node tests (with what a node reads as a parameter turned into
data), and some for what node tests do not have: graphs in graphs, functions, shape arithmetic,
data in files.
"""

from __future__ import annotations

from functools import cache

from onnx import ModelProto, TensorProto, numpy_helper

from tests.conformance.cases import Case, load_cases
from tests.frontend.onnx.support import model

# Longer models say no more and take longer.
_MOST_BYTES = 4000
# The file that external data may lie in, and its size in bytes.
DATA_FILE, DATA_SIZE = "weights.bin", 4096


@cache
def seeds() -> tuple[ModelProto, ...]:
    """The corpus, always in the same order."""
    return (*_structures(), *_operators())


def _operators() -> list[ModelProto]:
    """For each operator its two shortest node tests."""
    found: dict[str, list[ModelProto]] = {}
    cases, _ = load_cases()
    for proto, op in sorted(((_frozen(c), c.op) for c in cases), key=lambda p: p[0].ByteSize()):
        kept = found.setdefault(op, [])
        if len(kept) < 2 and proto.ByteSize() <= _MOST_BYTES:
            kept.append(proto)
    return [proto for op in sorted(found) for proto in found[op]]


def _frozen(case: Case) -> ModelProto:
    """The test's model with its parameters as initializers."""
    proto = ModelProto()
    proto.CopyFrom(case.model)
    for name, array in case.inputs(0).items() if case.data_sets else ():
        if name in case.parameters and array is not None:
            proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return proto


def _structures() -> list[ModelProto]:
    return [
        model("""g (float[N, 3] x) => (float[N, 3] y, int64[N, 2] m, float[4] u, float[4] v) {
            n = RandomNormalLike<mean = 1.0, scale = 2.0>(x)
            p = RandomUniformLike<low = -1.0>(n)
            y = Add(n, p)
            m = Multinomial<dtype = 7, sample_size = 2>(y)
            u = RandomUniform<shape = [4], seed = 3.0>()
            v = RandomNormal<shape = [4], dtype = 1>()
        }"""),
        model("""g (float[N, 3, 8, 8] x, float[4, 3, 3, 3] w) => (float[A, B] y)
            <int64[2] shape = {0, -1}> {
            c = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w)
            r = Relu(c)
            p = MaxPool<kernel_shape = [2, 2]>(r)
            y = Reshape(p, shape)
        }"""),
        model("""g (float[N, 6] x) => (float[A, B] y)
            <int64 zero = {0}, int64[1] axis = {0}, int64[1] three = {3}> {
            s = Shape(x)
            n = Gather<axis = 0>(s, zero)
            u = Unsqueeze(n, axis)
            twice = Mul(u, three)
            t = Concat<axis = 0>(twice, three)
            e = ConstantOfShape(t)
            r = Range(zero, n, n)
            z = Tile(e, t)
            y = Slice(z, three, t)
        }"""),
        model("""g (float[2] x, bool c) => (float[2] y) {
            y = If(c) <
                then_branch = t () => (float[2] a) { a = Add(x, x) },
                else_branch = e () => (float[2] b) {
                    b = If(c) <
                        then_branch = tt () => (float[2] p) { p = Neg(x) },
                        else_branch = ee () => (float[2] q) { q = Relu(x) }
                    >
                }
            >
        }"""),
        model("""g (float[2] x, int64 n, bool c) => (float[2] y, float[K, 2] all) {
            y, all = Loop(n, c, x) <
                body = b (int64 i, bool go, float[2] s) => (bool on, float[2] t, float[2] row) {
                    on = Identity(go)
                    t = Add(s, x)
                    row = Mul(t, s)
                }
            >
        }"""),
        model("""g (float[2] s, float[N, 2] xs) => (float[2] y, float[N, 2] all) {
            y, all = Scan<num_scan_inputs = 1, body = b (float[2] a, float[2] x) =>
                (float[2] t, float[2] row) { t = Add(a, x) \n row = Identity(t) }>(s, xs)
        }"""),
        model("g (float[N, 3] x) => (float[N, 3] y) { a = shop.F<k = 2>(x) \n y = shop.G(a) }",
              extra=', "shop" : 1', functions="""
            <domain: "shop", opset_import: ["" : 21]> F <k> (x) => (y) {
                c = Constant<value_int: int = @k>() \n f = CastLike(c, x) \n y = Mul(x, f)
            }
            <domain: "shop", opset_import: ["" : 21, "shop" : 1]> G (x) => (y) {
                a = shop.F<k = 3>(x) \n y = Softmax<axis = -1>(a)
            }"""),
        model("""g (float[2, 3] x) => (float[2, 3] y, float[5, 3] z) {
            e = SequenceEmpty()
            s = SequenceInsert(e, x)
            t = SequenceInsert(s, x)
            p, q = Split<axis = 0, num_outputs = 2>(x)
            u = SequenceConstruct(x, p, x)
            y = Relu(x)
            z = ConcatFromSequence<axis = 0>(u)
        }"""),
        model("""g (float[N, 8] x) => (float[N, 4] y)
            <uint8[8, 4] w, float s = {0.5}, uint8 z = {3}> {
            q = QuantizeLinear(x, s, z)
            a = DequantizeLinear(q, s, z)
            b = DequantizeLinear(x, s, z)
            y = MatMul(a, b)
        }"""),
        _external(),
    ]  # fmt: skip


def _external() -> ModelProto:
    """A model whose weights lie in a file."""
    proto = model("g (float[4] x) => (float[4] y) <float[4] w = {1, 2, 3, 4}> { y = Add(x, w) }")
    weight = proto.graph.initializer[0]
    weight.ClearField("float_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", DATA_FILE), ("offset", "16"), ("length", "16")):
        weight.external_data.add(key=key, value=value)
    return proto
