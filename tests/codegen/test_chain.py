"""A depthwise convolution in one kernel with the convolution in front of it."""

from __future__ import annotations

import pytest

from bireme.codegen.kernel import emit_kernel, template_of
from bireme.codegen.parameters import Choice
from bireme.codegen.spec import kernel_spec
from bireme.codegen.templates.tiles import COLUMNS
from bireme.ir import DType, TensorType, symbol
from bireme.targets.x86.chips import LEVELS
from tests.codegen.compare import check
from tests.codegen.kernels import group

N, H, W = symbol("n"), symbol("h"), symbol("w")


def chained(
    x,
    blocks,
    taps=(1, 1),
    kernel=(3, 3),
    stride=1,
    dilation=1,
    border=(1, 1, 1, 1),
    plain=False,
    first_stride=1,
    residual=None,
    last_pad=0,
):
    """Conv → + bias → relu → (pad) → depthwise conv → + bias → (+ residual) → relu → (pad)."""
    inner = 1 if plain else COLUMNS
    shapes = [x, (blocks, x[1], *taps, inner, COLUMNS), (blocks, 1, 1, COLUMNS)]
    shapes += [(blocks, *kernel, COLUMNS), (blocks, 1, 1, COLUMNS)]
    shapes += [residual] if residual else []
    common = {"pads": (0,) * 4, "out_block": COLUMNS}

    def body(b, x, w, bias, w2, bias2, *rest):
        first = {"strides": (first_stride,) * 2, "dilations": (1, 1), "groups": 1}
        y = b.relu(b.add(b.conv(x, w, in_block=inner, **first, **common), bias))
        if any(border):
            top, left, bottom, right = border
            y = b.pad(y, before=(0, 0, top, left, 0), after=(0, 0, bottom, right, 0))
        second = {
            "strides": (stride,) * 2,
            "dilations": (dilation,) * 2,
            "groups": blocks * COLUMNS,
            "in_block": COLUMNS,
        }
        y = b.add(b.conv(y, w2, **second, **common), bias2)
        for other in rest:
            y = b.add(y, other)
        y = b.relu(y)
        if last_pad:
            around = (0, 0, last_pad, last_pad, 0)
            y = b.pad(y, before=around, after=around)
        return y

    return group([TensorType(DType.F32, s) for s in shapes], body, "contraction")


CASES = [
    (chained((1, 2, 9, 17, 16), 3), {}),
    (chained((2, 1, 14, 14, 16), 5, stride=2), {}),
    (chained((1, 2, 13, 29, 16), 2, kernel=(5, 5), border=(2, 2, 2, 2), last_pad=1), {}),
    (chained((1, 1, 12, 15, 16), 2, dilation=2, border=(2, 2, 2, 2)), {}),
    (chained((1, 1, 11, 16, 16), 1, kernel=(5, 3), stride=2, border=(2, 0, 1, 1)), {}),
    (chained((1, 1, 8, 21, 16), 2, border=(0, 0, 0, 0)), {}),
    (chained((1, 3, 31, 45), 2, taps=(3, 3), plain=True, first_stride=2), {}),
    (chained((1, 1, 7, 7, 16), 9, residual=(1, 9, 7, 7, 16)), {}),
    # Several bands, and an operand that is read in slabs.
    (chained((1, 1, 130, 113, 16), 2, stride=2), {}),
    (chained((1, 16, 40, 56, 16), 8), {}),
    (chained((N, 2, H, W, 16), 3), {"n": 2, "h": 9, "w": 15}),
    (chained((1, 1, H, W, 16), 2, stride=2, last_pad=1), {"h": 100, "w": 3}),
    (chained((N, 1, H, W, 16), 2, border=(0, 0, 0, 0)), {"n": 1, "h": 3, "w": 4}),
]


@pytest.mark.parametrize(
    ("case", "sizes"), CASES, ids=lambda value: "" if isinstance(value, dict) else None
)
def test_both_convolutions_in_one_kernel(case, sizes):
    assert template_of(kernel_spec(case).graph()).name == "chain"
    check(case, sizes=sizes)


@pytest.mark.parametrize("level", LEVELS[1:], ids=lambda level: level.name)
@pytest.mark.parametrize("number", [1, 6, 10])
def test_other_levels(number, level):
    case, sizes = CASES[number]
    check(case, sizes=sizes, level=level)


def test_levels_share_the_division_into_tasks():
    for case, _ in CASES:
        spec = kernel_spec(case)
        assert len({emit_kernel(spec, level).work.tasks for level in LEVELS}) == 1


@pytest.mark.parametrize("values", [{"chunk": 4}, {"chunk": 2, "group": 1}, {"rows": 3}])
def test_chosen_parameters_are_taken(values):
    spec = kernel_spec(CASES[0][0])
    emitted = emit_kernel(spec, LEVELS[0], Choice(values, values))
    assert emitted.chosen is not None
    assert {name: emitted.chosen.values[name] for name in values} == values
