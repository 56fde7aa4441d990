"""Mutated models are imported or refused with a code, in bounded time and memory.

Always the same models, in a process of their own, so that a crash is a failure and memory can be
limited. `make fuzz` tries others. See `tests/frontend/onnx/fuzz`.
"""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from onnx import ModelProto

from tests.frontend.onnx.fuzz.mutate import mutated
from tests.frontend.onnx.fuzz.seeds import seeds
from tools.package_view import ROOT

PARTS, EACH = 4, 250


@pytest.mark.parametrize("part", range(PARTS))
def test_no_model_breaks_a_promise(part: int) -> None:
    command = [sys.executable, "-m", "tests.frontend.onnx.fuzz"]
    command += ["--first", str(part * EACH), "--count", str(EACH)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert f"{EACH} models" in done.stdout


def test_a_number_gives_the_same_model_every_time() -> None:
    models = {mutated(seeds(), random.Random(number))[0] for number in range(20)}
    again = {mutated(seeds(), random.Random(number))[0] for number in range(20)}
    assert models == again
    assert len(models) == 20


def test_most_mutations_leave_a_model_that_can_be_parsed() -> None:
    for number in range(50):
        data, notes = mutated(seeds(), random.Random(number))
        if "damaged" not in notes:
            ModelProto().ParseFromString(data)
