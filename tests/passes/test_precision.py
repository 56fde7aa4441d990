import math
from dataclasses import replace

import numpy as np
import pytest

from bireme.ir import BiremeError, DType
from bireme.ir.data import made_up_inputs
from bireme.ir.reference import run
from bireme.passes import run_passes
from bireme.passes.guard import PrecisionReport
from bireme.passes.pipeline import default, optimise
from bireme.passes.precision import Precision, pack_pairs, precision_for
from bireme.passes.ranges import ranges
from bireme.passes.selection import Part, choose, within
from bireme.targets.x86.chips import CHIPS
from tests.passes.support import Net, random_inputs

GENERIC = CHIPS["generic"]
BF16, F16, F32 = DType.BF16, DType.F16, DType.F32


def optimised(graph, precision, description=GENERIC):
    """The graph after the pipeline with a precision, and what was decided."""
    changed = graph.clone()
    passes = default(winograd=False, precision=precision)
    records = optimise(changed, description, passes=passes, verify=True)
    (report,) = (r.details for r in records if isinstance(r.details, PrecisionReport))
    return changed, report


def difference(graph, changed, feed):
    wanted, found = run(graph, feed), run(changed, feed)
    return max(
        float(np.abs(found[name] - array).max() / np.abs(array).max())
        for name, array in wanted.items()
    )


def resnet():
    """Two blocks of a network with a residual, pooling, a depthwise layer and a classifier."""
    net = Net()
    x = net.input("x", "n", 16, 12, 12)
    first = net.b.relu(net.conv(x, 32, node="first"))
    second = net.b.relu(net.b.add(net.conv(first, 32, node="second"), first))
    third = net.b.relu(net.conv(second, 32, groups=32, node="depthwise"))
    pooled = net.b.max_pool(third, kernel=(2, 2), strides=(2, 2), pads=(0,) * 4, dilations=(1, 1))
    fourth = net.conv(pooled, 32, 1, node="fourth")
    mean = net.b.reduce_mean(fourth, axes=(2, 3), keepdims=False)
    return net.done(net.b.matmul(mean, net.weight(32, 10, name="classifier")))


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_contractions_read_reduced_operands(dtype):
    graph = resnet()
    feed = random_inputs(graph, {"n": 2})
    changed, report = optimised(graph, Precision(dtype, calibration=[feed]))
    assert report.reduced == len(report.decisions) == 5
    assert [v.type.dtype for v in changed.inputs + changed.outputs] == [F32, F32]
    for op in changed.walk():
        if op.name in ("conv", "matmul"):
            assert {v.type.dtype.label for v in op.operands} == {report.dtype}
            assert op.result.type.dtype is F32
    bound = 2e-2 if dtype == "bf16" else 2e-3
    assert 0 < difference(graph, changed, feed) < bound
    assert report.max_relative == pytest.approx(difference(graph, changed, feed), rel=0.2)
    assert 0.999 < report.cosine <= 1


def test_values_between_kernels_are_stored_with_16_bits():
    changed, _ = optimised(resnet(), Precision("bf16"))
    kernels = [op for op in changed.body.ops if op.name == "kernel"]
    inner = [v for op in kernels for v in op.results if v not in changed.outputs]
    wide = [v for v in inner if v.type.dtype is F32]
    assert len(inner) > 5
    # What the classifier's kernel is given by the mean, and the last convolution's sums.
    assert len(wide) <= 1


def test_one_form_of_a_value_is_stored_when_all_readers_take_it():
    net = Net()
    x = net.input("x", "n", 32)
    w = net.weight(32, 32)
    y = net.b.relu(net.b.matmul(x, w))
    z = net.b.add(net.b.matmul(y, w), y)
    graph = net.done(net.b.matmul(z, w))
    changed, _ = optimised(graph, Precision("bf16"))
    kernels = [op for op in changed.body.ops if op.name == "kernel"]
    assert [len(op.results) for op in kernels] == [1] * len(kernels)


def test_outputs_keep_all_their_bits():
    net = Net()
    x = net.input("x", "n", 32)
    w = net.weight(32, 32)
    y = net.b.matmul(x, w)
    graph = net.done(y, net.b.matmul(y, w))
    changed, _ = optimised(graph, Precision("bf16"))
    feed = random_inputs(graph, {"n": 3})
    first = run(changed, feed)["y0"]
    assert first.dtype == np.float32
    assert not np.array_equal(first, first.astype(BF16.numpy).astype(np.float32))


def overflowing():
    """The second product of three reads numbers far beyond 65504."""
    net = Net()
    x = net.input("x", "n", 16)
    b = net.b.at("one")
    y = b.matmul(b.mul(x, net.scalar(100.0)), net.weight(16, 32))
    y = b.at("two").matmul(b.mul(y, y), net.weight(32, 32))
    return net.done(b.at("three").matmul(b.sqrt(b.abs(y)), net.weight(32, 16)))


def test_islands_around_what_float16_cannot_hold():
    graph = overflowing()
    feed = random_inputs(graph, {"n": 4})
    changed, report = optimised(graph, Precision("fp16", calibration=[feed]))
    assert report.kept == (1,)
    (kept,) = (d for d in report.decisions if d.reason)
    assert kept.nodes == ("two",)
    assert kept.dtype == "float32"
    assert kept.largest > 65504
    assert kept.reason.startswith("its operands reach ")
    found = run(changed, feed)
    assert all(np.isfinite(array).all() for array in found.values())
    assert difference(graph, changed, feed) < 5e-3


def test_without_inputs_float16_needs_a_bound():
    _, report = optimised(overflowing(), Precision("fp16"))
    assert report.reduced == 0
    assert all("calibration" in d.reason for d in report.decisions)
    net = Net()
    x = net.b.sigmoid(net.input("x", "n", 16))
    graph = net.done(net.b.matmul(x, net.weight(16, 32)))
    assert optimised(graph, Precision("fp16"))[1].reduced == 1


def test_auto_goes_back_until_the_limit_holds():
    graph = resnet()
    feed = random_inputs(graph, {"n": 2})
    _, plain = optimised(graph, Precision("auto", calibration=[feed], limit=1.0))
    assert plain.reduced == 5
    limit = plain.max_relative * 0.9
    changed, report = optimised(graph, Precision("auto", calibration=[feed], limit=limit))
    assert 0 < report.reduced < 5
    assert report.max_relative <= limit
    assert difference(graph, changed, feed) <= limit * 1.2
    assert any("outputs would be off by" in d.reason for d in report.decisions)
    _, strict = optimised(graph, Precision("auto", calibration=[feed], limit=0.0))
    assert strict.reduced == 0
    assert strict.max_relative == 0


def test_auto_without_inputs_holds_the_limit_on_made_up_ones():
    graph = resnet()
    _, plain = optimised(graph, Precision("auto", limit=1.0))
    assert (plain.reduced, plain.inputs, plain.made_up) == (5, 1, True)
    limit = plain.max_relative * 0.9
    changed, report = optimised(graph, Precision("auto", limit=limit))
    assert 0 < report.reduced < 5
    assert difference(graph, changed, made_up_inputs(graph)) <= limit * 1.2
    assert optimised(graph, Precision("bf16"))[1].inputs == 0


def residuals(width):
    """Eight layers, each adding the product with a wide matrix to a residual stream."""
    net = Net()
    b = net.b
    x = net.input("x", "n", 32)
    for number in range(8):
        x = b.layer_norm(x, axis=-1)
        up, down = net.weight(32, width), net.weight(width, 32, name=f"down{number}")
        y = b.mul(b.matmul(b.relu(b.matmul(x, up)), down), net.scalar(0.1 / width))
        x = b.add(x, y)
    return net.done(x)


def test_residual_connections_are_not_rounded_where_products_cost_most():
    errors = []
    for width in (256, 1024):
        graph = residuals(width)
        feed = random_inputs(graph, {"n": 16})
        changed, _ = optimised(graph, Precision("bf16"))
        errors.append(difference(graph, changed, feed))
    assert errors[0] > 1e-3  # a rounding in every layer
    assert errors[1] < errors[0] / 10


def test_auto_needs_processors_that_multiply_bfloat16():
    older = replace(GENERIC, reduced_levels=GENERIC.levels)
    _, report = optimised(resnet(), Precision("auto"), older)
    assert report.reduced == 0
    assert {d.reason for d in report.decisions} == {
        "no processor of the target multiplies bfloat16"
    }


def test_what_loses_too_much():
    """The difference of two nearly equal large sums."""
    net = Net()
    x = net.input("x", "n", 64)
    w = np.ones((64, 16), np.float32)
    w[::2] = -1.0
    y = net.b.matmul(net.b.add(x, net.scalar(1000.0)), net.b.constant(w, "w"))
    graph = net.done(y)
    feed = random_inputs(graph, {"n": 3})
    _, report = optimised(graph, Precision("bf16", calibration=[feed]))
    (decision,) = report.decisions
    assert decision.reason.startswith("rounding its operands alone puts its result off by")
    assert decision.error > 2e-2


def test_places_and_whole_numbers_keep_float32():
    net = Net()
    x = net.input("x", "n", 16)
    place = net.b.cast(net.b.sigmoid(x), dtype=DType.I64)
    chosen = net.b.floor(net.b.matmul(x, net.weight(16, 16)))
    counted = net.b.cast(net.input("i", "n", 16, dtype=DType.I64), dtype=F32)
    graph = net.done(place, chosen, net.b.matmul(counted, net.weight(16, 16)))
    _, report = optimised(graph, Precision("bf16"))
    assert [d.reason for d in report.decisions] == [
        "its result decides what floor gives",
        "its operand holds whole numbers beyond 256",
    ]


def test_unknown_options():
    graph = resnet()
    with pytest.raises(BiremeError, match="BM3001"):
        run_passes(graph, GENERIC, [Precision("int3")])
    with pytest.raises(BiremeError, match="precision is float32, bf16, fp16, auto; found 'half'"):
        precision_for("half")
    with pytest.raises(BiremeError, match="other than float32"):
        precision_for("float32", [{}])
    assert precision_for("float32") is None


def test_pairs_stand_together():
    rows = np.arange(10, dtype=np.float32).reshape(1, 5, 2)
    packed = pack_pairs(rows)
    assert packed.shape == (1, 3, 2, 2)
    np.testing.assert_array_equal(packed[0, 0], [[0, 2], [1, 3]])
    np.testing.assert_array_equal(packed[0, 2], [[8, 0], [9, 0]])


def test_bounds_hold():
    net = Net()
    x = net.input("x", "n", 4, 6, 6)
    b = net.b
    clipped = b.minimum(b.maximum(x, net.scalar(-2.0)), net.scalar(3.0))
    values = [
        clipped,
        b.mul(clipped, clipped),
        b.sub(clipped, b.relu(clipped)),
        b.neg(b.abs(clipped)),
        b.div(clipped, b.add(b.exp(clipped), net.scalar(1.0))),
        b.gelu(clipped),
        net.conv(clipped, 5),
        b.pad(clipped, before=(0, 0, 1, 1), after=(0, 0, 0, 0)),
        b.layer_norm(x, axis=1),
        b.softmax(x, axis=1),
        b.concat(b.tanh(x), clipped, axis=1),
        b.where(b.greater(x, clipped), b.sigmoid(x), clipped),
        b.matmul(clipped, b.transpose(clipped, perm=(0, 1, 3, 2))),
        b.reduce_mean(clipped, axes=(2,), keepdims=True),
    ]
    graph = net.done(*values)
    bounds = ranges(graph)
    feed = {"x": np.random.default_rng(0).standard_normal((3, 4, 6, 6)).astype(np.float32) * 9}
    for name, value in zip(graph.output_names, graph.outputs, strict=True):
        array = run(graph, feed)[name]
        bound = bounds[value]
        assert math.isfinite(bound.largest), value.owner.name
        assert bound.low <= array.min(), value.owner.name
        assert array.max() <= bound.high, value.owner.name


def test_selection_saves_most_within_the_limit():
    """Errors of single numbers, added up as squares."""
    errors = [0.1, 0.9, 0.2, 0.1, 0.5, 0.1, 0.1, 0.3, 0.1, 0.1, 0.2, 0.1]
    cost = [1.0] * len(errors)

    def measure(numbers):
        return math.sqrt(sum(errors[n] ** 2 for n in numbers))

    every = list(range(len(errors)))
    assert choose(every, cost, 2.0, measure) == set(every)
    found = choose(every, cost, 0.5, measure)
    assert measure(sorted(found)) <= 0.5
    assert not found & {1}
    assert len(found) >= 9
    assert choose(every, cost, 0.0, measure) == set()
    assert choose([], cost, 0.0, measure) == set()


def test_selection_prefers_what_costs_much():
    parts = [Part((0,), 0.8, 10.0), Part((1,), 0.5, 100.0), Part((2,), 0.8, 1000.0)]
    assert [p.numbers for p in within(parts, 1.0)] == [(2,), (1,)]
