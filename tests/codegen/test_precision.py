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
