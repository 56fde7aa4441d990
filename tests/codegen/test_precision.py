"""Models compiled with reduced precision, on every level, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

import bireme as bm
from bireme.codegen.accuracy import tolerance_of
from bireme.codegen.compiler import Options
from bireme.ir import DType
from bireme.ir.reference import run
from bireme.passes.pipeline import default, optimise
from bireme.passes.precision import Precision
from bireme.runtime import Model, Session
from bireme.targets.x86.chips import CHIPS
from tests.passes.support import Net, random_inputs

LEVELS = [level.name for level in CHIPS["generic"].reduced_levels]


def picture_network():
    """Convolutions with residual, depthwise layer, pooling and classifier."""
    net = Net()
    x = net.input("x", 2, 3, 21, 34)
    first = net.b.relu(net.conv(x, 20, stride=2, node="first"))
    second = net.b.relu(net.b.add(net.conv(first, 20, node="second"), first))
    third = net.b.relu(net.conv(second, 20, groups=20, node="depthwise"))
    pooled = net.b.max_pool(third, kernel=(3, 3), strides=(2, 2), pads=(1,) * 4, dilations=(1, 1))
    joined = net.b.concat(net.conv(pooled, 16, 1, node="left"), net.conv(pooled, 5), axis=1)
    last = net.b.sigmoid(net.conv(joined, 33, node="last"))
    mean = net.b.reduce_mean(last, axes=(2, 3), keepdims=False)
    return net.done(net.b.softmax(net.b.matmul(mean, net.weight(33, 10)), axis=-1), last)


def attention_network():
    """A layer of a transformer with sequences of any length."""
    net = Net()
    x = net.input("x", "n", "s", 24)
    b = net.b

    def heads(y, perm):
        size = y.type.shape[:2]
        return b.transpose(b.reshape(y, shape=(*size, 3, 8)), perm=perm)

    y = b.layer_norm(x, net.positive(24), net.weight(24), axis=-1)
    q, k, v = (b.matmul(y, net.weight(24, 24, name=name)) for name in "qkv")
    scores = b.matmul(heads(q, (0, 2, 1, 3)), heads(k, (0, 2, 3, 1)))
    share = b.softmax(b.mul(scores, net.scalar(0.3)), axis=-1)
    mixed = b.transpose(b.matmul(share, heads(v, (0, 2, 1, 3))), perm=(0, 2, 1, 3))
    x = b.add(x, b.matmul(b.reshape(mixed, shape=x.type.shape), net.weight(24, 24, name="o")))
    y = b.gelu(b.matmul(b.layer_norm(x, axis=-1), net.weight(24, 50, name="up")))
    return net.done(b.add(x, b.matmul(y, net.weight(50, 24, name="down"))))


CASES = [
    (picture_network, {}),
    (attention_network, {"n": 2, "s": 19}),
    (attention_network, {"n": 1, "s": 1}),
]


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory):
    """Artefacts by network and precision, compiled once."""
    made = {}

    def get(build, precision):
        key = (build.__name__, precision)
        if key not in made:
            options = Options(verify=True, jobs=0, precision=Precision(precision))
            path = tmp_path_factory.mktemp("artefacts") / "model.bireme"
            bm.compile(build(), "x86:generic", options=options).save(path)
            made[key] = path
        return made[key]

    return get


def reduced(graph, precision):
    changed = graph.clone()
    optimise(changed, CHIPS["generic"], passes=default(precision=Precision(precision)))
    return changed


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("build", "sizes"), CASES)
def test_bfloat16(artefacts, build, sizes, level):
    graph = build()
    feed = random_inputs(graph, sizes)
    model = Model.load(artefacts(build, "bf16"), max_isa=level)
    found = Session(model).run(feed)
    bound = tolerance_of(DType.BF16).kernel
    for name, wanted in run(reduced(graph, "bf16"), feed).items():
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(found[name], wanted, rtol=bound, atol=bound * scale)


def test_float16():
    graph = picture_network()
    feed = random_inputs(graph)
    precision = Precision("fp16", calibration=[feed])
    changed = graph.clone()
    optimise(changed, CHIPS["generic"], passes=default(winograd=False, precision=precision))
    options = Options(jobs=0, winograd=False, precision=precision)
    program = bm.compile(graph, "x86:znver4", options=options)
    assert program.report.precision.reduced > 4
    bound = tolerance_of(DType.F16).kernel
    found = program(feed)
    for name, wanted in run(changed, feed).items():
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(found[name], wanted, rtol=bound, atol=bound * scale)


@pytest.mark.parametrize("dtype", [DType.F16, DType.BF16], ids=lambda dtype: dtype.label)
def test_models_of_16_bits_have_blocked_kernels(dtype):
    """A model whose own elements are float16 or bfloat16: the same kernels as of float32."""
    net = Net()
    x = net.input("x", 2, 16, 11, 13, dtype=dtype)

    def conv(x, filters, kernel, groups=1):
        w = net.weight(filters, x.type.shape[1] // groups, kernel, kernel, dtype=dtype.numpy)
        pads = (kernel // 2,) * 4
        y = net.b.conv(x, w, strides=(1, 1), pads=pads, dilations=(1, 1), groups=groups)
        return net.b.relu(net.b.mul(y, net.scalar(0.1, dtype.numpy)))

    y = conv(conv(conv(x, 24, 3), 24, 3, groups=24), 40, 1)
    mean = net.b.reduce_mean(y, axes=(2, 3), keepdims=False)
    graph = net.done(net.b.matmul(mean, net.weight(40, 10, dtype=dtype.numpy)))
    program = bm.compile(graph, "x86:znver4", options=Options(verify=True, jobs=0))
    kinds = [entry.kind for entry in profiled(program, random_inputs(graph))]
    assert kinds.count("convolution") == 3
    assert kinds.count("matmul") == 1
    feed = random_inputs(graph)
    bound = tolerance_of(dtype).model
    (found,), (wanted,) = program(feed).values(), run(graph, feed).values()
    assert found.dtype == wanted.dtype == dtype.numpy
    found, wanted = found.astype(np.float32), wanted.astype(np.float32)
    np.testing.assert_allclose(found, wanted, rtol=bound, atol=bound * np.abs(wanted).max())


def profiled(program, feed):
    session = Session(program.model, profile=True)
    session.run(feed)
    return session.profile()


def test_float32_models_carry_no_more_code():
    plain = bm.compile(attention_network(), "x86:generic", options=Options(jobs=0))
    assert plain.model.isa in {level.name for level in CHIPS["generic"].levels}
