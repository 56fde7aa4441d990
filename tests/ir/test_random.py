"""Random numbers: the generator against published vectors, distributions, who gets which key."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bireme.ir import Array, Builder, DType, Graph, TensorType, reference
from bireme.ir.dtypes import FLOATS
from bireme.ir.philox import draw_key, philox
from bireme.ir.reference import run_op

each_float = pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.label)
KEY = np.uint64(0x0123456789ABCDEF)
COUNT = 1 << 18


# The vectors that the authors publish with their library, Random123.
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_words(
    counter: list[int], key: list[int], expected: list[int]
) -> None:
    arrays = [[np.array(word, np.uint32) for word in words] for words in (counter, key)]
    assert [int(word) for word in philox(tuple(arrays[0]), tuple(arrays[1]))] == expected


# runtime/random_test.cc expects the same of the runtime.
def test_keys_are_those_of_the_runtime() -> None:
    assert draw_key(0, 0, 0, 0) == 0xE169C58D6627E8D5
    found = draw_key(0x299F31D0A4093822, 0x0370734413198A2E, 0x85A308D3, 0x243F6A88)
    assert found == 0x94FDCCEBD16CFE09


def draw(op: str, dtype: DType, key: np.uint64 = KEY) -> Array:
    (found,) = run_op(op, [np.arange(COUNT), key], {"dtype": dtype})
    return np.asarray(found).astype(np.float64)


def distance(distribution: Array) -> float:
    """How far a sample is from the distribution whose function is given at its sorted elements,
    times the root of their number: below 1.95 in 99.9 % of samples (A. Kolmogorov, N. Smirnov).
    """
    steps = np.arange(len(distribution) + 1) / len(distribution)
    off = max(np.abs(distribution - steps[1:]).max(), np.abs(distribution - steps[:-1]).max())
    return float(off) * math.sqrt(len(distribution))


@each_float
def test_uniform_numbers_fill_the_interval(dtype: DType) -> None:
    found = draw("random_uniform", dtype)
    assert found.min() >= 0
    assert found.max() < 1
    bits = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}[dtype.label]
    np.testing.assert_array_equal(found * 2.0**bits % 1, 0)
    # Rounded down to a multiple of 2**-bits, on average by half of that.
    middle = 0.5 - 0.5 * 2.0**-bits
    assert abs(found.mean() - middle) < 4 * math.sqrt(1 / 12 / COUNT)
    assert abs(found.var() - 1 / 12) < 4 * math.sqrt(1 / 180 / COUNT)
    counts = np.bincount((found * 128).astype(int), minlength=128)
    chi_square = float(((counts - COUNT / 128) ** 2 / (COUNT / 128)).sum())
    assert 70 < chi_square < 190  # 127 degrees of freedom
    if bits > 20:
        assert distance(np.sort(found)) < 1.95


@each_float
def test_normal_numbers_are_normal(dtype: DType) -> None:
    found = draw("random_normal", dtype)
    root = math.sqrt(COUNT)
    assert abs(found.mean()) < 4 / root
    assert abs(found.var() - 1) < 4 * math.sqrt(2) / root
    assert abs((found**3).mean()) < 4 * math.sqrt(15) / root
    assert abs((found**4).mean() - 3) < 4 * math.sqrt(96) / root
    assert 4 < np.abs(found).max() < 6.7
    if dtype in (DType.F32, DType.F64):
        ordered = np.sort(found)
        below = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in ordered])
        assert distance(below) < 1.95


@pytest.mark.parametrize("op", ["random_uniform", "random_normal"])
def test_element_types_differ_by_rounding_only(op: str) -> None:
    exact = draw(op, DType.F64)
    # Of a float32 close to 1, as u is where the radius is small, the last bit is 2**-24.
    for dtype, step in ((DType.F32, 4e-4), (DType.F16, 3e-3), (DType.BF16, 3e-2)):
        np.testing.assert_allclose(draw(op, dtype), exact, rtol=step, atol=step)


def test_neighbouring_keys_and_places_have_nothing_in_common() -> None:
    one, other = (draw("random_normal", DType.F64, key) for key in (KEY, np.uint64(KEY + 1)))
    for a, b in ((one, other), (one[1:], one[:-1]), (one[1:], other[:-1])):
        assert abs(float((a * b).mean())) < 4 / math.sqrt(COUNT)


def test_large_places_are_places_of_their_own() -> None:
    places = np.array([3, 3 + (1 << 32), 3 + (1 << 33), -3])
    (found,) = run_op("random_uniform", [places, KEY], {"dtype": "float64"})
    assert len(set(found.tolist())) == 4


# --- keys -----------------------------------------------------------------------------------------


def keys_of(*, seed: int = 0, run_number: int = 0, **attrs: int) -> list[int]:
    """Keys of one op outside of a loop and one inside, over three steps."""
    graph = Graph("keys")
    steps = graph.add_input("steps", TensorType(DType.F32, (3,)))
    b = Builder(graph)
    outside = b.random_key(**attrs)
    body = b.block([TensorType(DType.F32, ())])
    inside = Builder(graph, block=body)
    attrs["stream"] = attrs["stream"] and 2
    inside.yield_([inside.random_key(**attrs)])
    scan = b.op("scan", [steps], [body], carries=0)
    graph.set_outputs([("outside", outside), ("inside", scan.result)])
    feed = {"steps": np.zeros(3, np.float32)}
    found = reference.run(graph, feed, seed=seed, run_number=run_number)
    return [int(found["outside"]), *found["inside"].tolist()]


def test_every_draw_of_a_session_has_its_own_key() -> None:
    first, second = (keys_of(stream=1, seed=5, run_number=n) for n in range(2))
    assert len({*first, *second}) == 8
    assert keys_of(stream=1, seed=5, run_number=1) == second
    assert not {*first, *second} & {*keys_of(stream=1, seed=6)}


def test_an_op_with_a_seed_of_its_own_repeats_itself() -> None:
    expected = keys_of(stream=0, seed=5)
    assert keys_of(stream=0, seed=6, run_number=3) == expected
    assert len({*expected}) == 3  # both ops start alike; inside, each step is another draw
    assert expected[0] == expected[1]
