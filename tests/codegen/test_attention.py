"""Attention as one kernel, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.codegen.classes import class_of, form_of
from bireme.codegen.kernel import template_of
from bireme.codegen.spec import kernel_spec
from bireme.ir import DType, TensorType, symbol
from bireme.targets.x86.chips import LEVELS
from tests.codegen.compare import check, sample
from tests.codegen.kernels import group

F32 = DType.F32
B, S, T = symbol("b"), symbol("s"), symbol("t")


def attention(
    rows, keys, size, width=None, batch=(1, 2), mask=None, boolean=False, joined=True, split=True
):
    """softmax(q kᵀ / √size + mask) v; with `split`, of `[..., length, heads, size]`; with `joined`,
    stored so.
    """
    width = width or size
    *outer, heads = batch
    rank = len(batch) + 2
    swap = (*range(rank - 3), rank - 2, rank - 3, rank - 1)

    def operand(length, elements):
        moved = (*outer, length, heads, elements) if split else (*batch, length, elements)
        return TensorType(F32, moved)

    inputs = [operand(rows, size), operand(keys, size), operand(keys, width)]
    if mask is not None:
        inputs.append(TensorType(DType.BOOL if boolean else F32, mask))

    def body(b, q, k, v, *masks):
        if split:
            q, v = b.transpose(q, perm=swap), b.transpose(v, perm=swap)
        turn = (
            (*range(rank - 3), rank - 2, rank - 1, rank - 3)
            if split
            else (*range(rank - 2), rank - 1, rank - 2)
        )
        scores = b.mul(b.matmul(q, b.transpose(k, perm=turn)), b.constant(np.float32(size**-0.5)))
        for each in masks:
            scores = (
                b.where(each, scores, b.constant(np.float32("-inf")))
                if boolean
                else b.add(scores, each)
            )
        y = b.matmul(b.softmax(scores, axis=-1), v)
        return b.transpose(y, perm=swap) if joined else y

    return group(inputs, body, "attention")


def test_it_has_a_template():
    kernel = attention(5, 7, 16)
    assert template_of(kernel_spec(kernel).graph()).name == "attention"
    assert (class_of(kernel), form_of(kernel)) == ("attention", "2 of 5×16×7")


@pytest.mark.parametrize("keys", [1, 3, 31, 37, 128, 200])
def test_lengths(keys):
    check(attention(keys, keys, 64, batch=(1, 2)))


@pytest.mark.parametrize("level", LEVELS[1:], ids=lambda level: level.name)
@pytest.mark.parametrize("keys", [3, 37, 128])
def test_levels(keys, level):
    check(attention(keys, keys, 64, batch=(1, 2)), level=level)


@pytest.mark.parametrize(
    ("size", "width"), [(1, None), (32, None), (80, None), (16, 40), (40, 5)], ids=str
)
def test_sizes_of_heads(size, width):
    check(attention(31, 37, size, width))


@pytest.mark.parametrize("mask", [(37,), (31, 37), (2, 1, 31, 1), (1, 3, 1, 37)], ids=str)
@pytest.mark.parametrize("boolean", [False, True], ids=["added", "boolean"])
def test_masks(mask, boolean):
    kernel = attention(31, 37, 16, batch=(2, 3), mask=mask, boolean=boolean)
    inputs = [sample(v.type, {}, seed) for seed, v in enumerate(kernel.operands)]
    if boolean:  # of other rows some are left out as a whole: NaN
        inputs[3][..., :1] = 1
        inputs[3].reshape(-1, mask[-1])[-1] = 0
    check(kernel, inputs)


def test_infinite_scores_as_the_reference_does():
    """Rows of -inf and rows with +inf or NaN are NaN, others are not touched by them."""
    kernel = attention(5, 700, 16, batch=(1, 1), mask=(5, 700))
    inputs = [sample(v.type, {}, seed) for seed, v in enumerate(kernel.operands)]
    mask = np.zeros((5, 700), np.float32)
    mask[0], mask[1, :699] = -np.inf, -np.inf
    mask[2, 650], mask[3, 3] = np.inf, np.nan
    (found,) = check(kernel, [*inputs[:3], mask])
    assert np.isnan(found[0, [0, 2, 3]]).all()
    assert np.isfinite(found[0, [1, 4]]).all()


@pytest.mark.parametrize(("keys", "masked"), [(513, True), (1024, False)], ids=str)
def test_more_keys_than_a_stretch(keys, masked):
    check(attention(45, keys, 64, mask=(45, keys) if masked else None, boolean=True), split=3)


@pytest.mark.parametrize("split", [True, False], ids=["split here", "in heads"])
@pytest.mark.parametrize("joined", [True, False], ids=["joined", "in heads"])
def test_layouts(split, joined):
    check(attention(20, 33, 32, batch=(2, 3), split=split, joined=joined))
    check(attention(20, 33, 32, batch=(3,), split=split, joined=joined))


DYNAMIC = attention(S, T, 32, batch=(B, 2), mask=(B, 1, 1, T))


@pytest.mark.parametrize(
    ("level", "rows", "keys"), [(0, 37, 31), (0, 3, 1030), (1, 200, 3), (2, 1, 1)], ids=str
)
def test_sizes_that_only_run_time_knows(level, rows, keys):
    check(DYNAMIC, sizes={"b": 2, "s": rows, "t": keys}, level=LEVELS[level], split=3)


def test_what_follows_and_several_results():
    inputs = [
        TensorType(F32, (2, 9, 16)),
        TensorType(F32, (2, 16, 21)),
        TensorType(F32, (2, 21, 48)),
    ]

    def body(b, q, k, v):
        y = b.matmul(b.softmax(b.tanh(b.matmul(q, k)), axis=2), v)
        return [b.relu(y), b.add(y, b.constant(np.float32(1)))]

    check(group(inputs, body, "attention"))
