"""The names that `bireme` promises (docs/stability.md); a change here is a change for users."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bireme

PROMISED = [
    "BiremeError", "Profile", "Program", "check", "compare", "compile", "load", "nn", "profile",
    "tune", "zoo",
]  # fmt: skip


def test_the_promised_names_and_no_others() -> None:
    assert sorted(bireme.__all__) == PROMISED
    assert sorted(dir(bireme)) == PROMISED


@pytest.mark.parametrize("name", PROMISED)
def test_every_promised_name_is_there(name: str) -> None:
    assert getattr(bireme, name).__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'transmogrify'"):
        bireme.transmogrify  # noqa: B018


@pytest.mark.parametrize("module", ["bireme", "bireme.runtime"])
def test_the_runtime_is_had_without_the_compiler(module: str) -> None:
    program = f"import sys, {module}; print(*{{'tvm', 'torch_mlir', 'onnx'}} & sys.modules.keys())"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    assert loaded == []
