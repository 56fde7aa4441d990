"""Layers and functions give the values of PyTorch 2.13.0 and take its state dicts."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bireme.frontend import nn
from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.frontend.nn.tree import named_leaves
from bireme.ir import reference
from tests.frontend.nn.pytorch_cases import FUNCTIONS, MODULES, Case, arrays, masks, state

VALUES: dict[str, Any] = dict(np.load(Path(__file__).parent / "pytorch_values.npz"))


def assert_close(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> None:
    """Within float32 rounding of sums in another order."""
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6)


def build(case: Case, number: int) -> nn.Module:
    """The module with PyTorch's state dict, loaded strictly."""
    module = eval(case.ours, vars(nn))
    prefix = f"module{number}/shape/"
    shapes = {
        k.removeprefix(prefix): tuple(v.tolist()) for k, v in VALUES.items() if k.startswith(prefix)
    }
    module.load_state_dict(state(shapes, number))
    assert isinstance(module, nn.Module)
    return module


def expected(number: int) -> dict[str, np.ndarray[Any, Any]]:
    prefix = f"module{number}/output"
    return {f"output{k.removeprefix(prefix)}": v for k, v in VALUES.items() if k.startswith(prefix)}


@pytest.mark.parametrize(
    ("number", "case"),
    list(enumerate(MODULES)),
    ids=lambda v: v.ours if isinstance(v, Case) else "",
)
def test_module(number: int, case: Case) -> None:
    """Eager, and traced with a symbolic leading axis and run through the reference."""
    module = build(case, number)
    inputs, extra = arrays(case, number), masks(case, number)
    eager = {k: v.numpy() for k, v in named_leaves(module(*inputs, **extra), "output")}
    wanted = expected(number)
    assert eager.keys() == wanted.keys()
    for key, value in wanted.items():
        assert_close(eager[key], value)

    names = list(inspect.signature(module.forward).parameters)
    named = {**dict(zip(names, inputs, strict=False)), **extra}
    specs = {
        # Masks and states share an axis with the input that is not their leading one.
        k: nn.Spec(("n", *v.shape[1:]) if len(named) == 1 else v.shape, v.dtype)
        for k, v in named.items()
    }
    graph = nn.trace(module, specs)
    traced = reference.run(graph, named)
    for key, value in eager.items():
        np.testing.assert_array_equal(traced[key], value)


@pytest.mark.parametrize(
    ("number", "case"),
    list(enumerate(FUNCTIONS)),
    ids=lambda v: v.ours if isinstance(v, Case) else "",
)
def test_function(number: int, case: Case) -> None:
    class Function(nn.Module):
        def forward(self, **inputs: nn.Tensor) -> nn.Tensor:
            result = eval(case.ours, {"F": F, **inputs})
            assert isinstance(result, nn.Tensor)
            return result

    inputs = dict(zip("xyz", arrays(case, number), strict=False))
    eager = Function()(**inputs).numpy()
    assert_close(eager, VALUES[f"function{number}"])
    traced = reference.run(nn.trace(Function(), inputs), inputs)
    np.testing.assert_array_equal(traced["output"], eager)
