"""Every row of the advice table on a step that it is for, and on one that it is not for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bireme._advice import CODES, RULES, advise, advise_whole
from bireme._profile import Step
from bireme.codegen.limits import Level, Limits

LIMITS = Limits("Test", "x86-64-v4", 2, 100.0, (Level("L2", 1 << 20, 9.0, 9.0),
                Level("memory", None, 1.0, 1.0)), 40.0, 50.0)  # fmt: skip
BEFORE = Step(
    index=0, nodes=("first",), ops=("conv", "relu"), kind="convolution", form="1×1 8→8 at 9×9",
    kernel="convolution_0", template="convolution", version="", any_size=False, types="f32[8]",
    calls=1, tasks=8, seconds=1e-3, spread=(1e-3, 1e-3), share=0.5, operations=1e8, bytes=1e6,
    limit="compute", limit_seconds=1e-3, parts={}, readers=(1,),
)  # fmt: skip
GOOD = replace(BEFORE, index=1, nodes=("second",), reads=(0,), readers=())

CASES = {
    "above-limit": ({"limit_seconds": 2e-3}, "--measure-limits"),
    "below-compute": ({"limit_seconds": 0.5e-3}, "convolution 1×1 8→8 at 9×9 at 50 % of the"),
    "weights-from-memory": ({"limit": "memory"}, "larger batch"),
    "depthwise": (
        {"kind": "depthwise convolution", "form": "3×3", "limit": "L2", "limit_seconds": 0.12e-3},
        "depthwise convolution 3×3 at 12 % of the L2 bandwidth: not fused because conv and conv of "
        "first need a loop nest each",
    ),
    "below-bandwidth": ({"limit": "L2", "limit_seconds": 0.1e-3}, "10 % of the L2 bandwidth"),
    "pass-over-memory": (
        {"kind": "data movement", "ops": ("transpose",)},
        "not fused because transpose changes the order in which first writes",
    ),
    "copy": ({"template": "copy", "kernel": "", "ops": ("copy",)}, "a copy: "),
    "one-thread": ({"tasks": 1}, "1 task(s) for 2 threads"),
    "any-size": ({"any_size": True, "limit_seconds": 0.5e-3}, "--specialize"),
    "float64": ({"types": "f64[8]"}, "half as many"),
}


def codes(step: Step, before: Step = BEFORE) -> dict[str, str]:
    _, found = advise([before, step], LIMITS)
    return {finding.code: finding.text for finding in found.findings}


def test_every_row_has_a_case_and_an_explanation():
    assert list(CASES) == [rule.code for rule in RULES]
    assert set(CODES) == {*CASES, "noise", "older-code", "short-steps"}


@pytest.mark.parametrize("code", CASES)
def test_a_row_applies(code):
    changes, text = CASES[code]
    assert text in codes(replace(GOOD, **changes))[code]


def test_a_step_is_slow_only_if_its_fastest_runs_are():
    step = replace(GOOD, seconds=5e-3, limit_seconds=0.95e-3)
    assert codes(replace(step, spread=(1e-3, 9e-3))) == {}
    assert "below-compute" in codes(replace(step, spread=(4e-3, 9e-3)))


def test_nothing_is_said_of_what_is_good_or_small():
    assert codes(GOOD) == {}
    assert codes(replace(GOOD, limit_seconds=0.1e-3, share=0.001)) == {}


@pytest.mark.parametrize(
    ("ops", "before", "why"),
    [
        (("relu",), {"readers": (1, 2)}, "2 steps read the result of first"),
        (("softmax",), {}, "softmax and conv of first need a loop nest each"),
        (("softmax",), {"ops": ("relu",)}, "softmax reads what first makes more than once"),
        (("relu",), {}, "its shape is not that of first"),
    ],
)
def test_why_a_step_was_not_fused(ops, before, why):
    step = replace(GOOD, kind="elementwise", ops=ops)
    assert why in codes(step, replace(BEFORE, **before))["pass-over-memory"]


def test_a_step_that_reads_inputs_only():
    step = replace(GOOD, kind="elementwise", ops=("relu",), reads=())
    assert "reads the model's inputs only" in codes(step)["pass-over-memory"]


def test_the_run_as_a_whole():
    def found(steps: list[Step], isa: str = "x86-64-v4", spread: tuple[float, float] = (1, 1)):
        return {f.code: f.text for f in advise_whole(steps, LIMITS, isa, spread)}

    assert found([GOOD]) == {}
    assert found([GOOD], isa="x86-64-v4+bf16") == {}
    assert "x86-64-v2 at best" in found([GOOD], isa="x86-64-v2")["older-code"]
    assert "2.0 times" in found([GOOD], spread=(1.0, 2.0))["noise"]
    short = replace(GOOD, seconds=1e-6, calls=1)
    assert "2 launches" in found([short, short])["short-steps"]
    looped = replace(GOOD, seconds=1e-3, calls=1000)
    assert "1000 launches" in found([looped])["short-steps"]
