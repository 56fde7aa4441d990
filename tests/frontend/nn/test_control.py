"""cond, while_loop and scan: run by Python or traced as regions, the values are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bireme.frontend import nn
from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.ir import BiremeError, reference


class Conditional(nn.Module):
    """Reads a parameter and an outer value in one branch."""

    def __init__(self) -> None:
        self.fc = nn.Linear(4, 4)

    def forward(self, x: nn.Tensor) -> dict[str, nn.Tensor]:
        double = x * 2.0
        return nn.cond(  # type: ignore[no-any-return]
            x.sum() > 0,
            lambda v: {"y": self.fc(v) + double, "z": v.sum()},
            lambda v: {"y": -v, "z": v.max()},
            x,
        )


class Collatz(nn.Module):
    """Counts steps to 1."""

    def forward(self, n: nn.Tensor) -> nn.Tensor:
        def step(state: tuple[nn.Tensor, nn.Tensor]) -> tuple[nn.Tensor, nn.Tensor]:
            value, steps = state
            return F.where(value % 2 == 0, value // 2, value * 3 + 1), steps + 1

        _, steps = nn.while_loop(lambda s: s[0] != 1, step, (n, n - n))
        return steps  # type: ignore[no-any-return]


class Cell(nn.Module):
    """A simple recurrent layer with a nested state, a weight and an outer value."""

    def __init__(self, reverse: bool) -> None:
        self.fc = nn.Linear(3, 3)
        self.reverse = reverse

    def forward(self, xs: nn.Tensor, h: nn.Tensor) -> Any:
        scale = h.mean()

        def step(carried: dict[str, nn.Tensor], row: tuple[nn.Tensor, nn.Tensor]) -> Any:
            h = F.tanh(self.fc(row[0]) + carried["h"] * scale)
            return {"h": h, "n": carried["n"] + 1}, (h.sum(-1), h + row[1])

        return nn.scan(step, {"h": h, "n": nn.Tensor(0)}, (xs, xs * 2.0), self.reverse)


def compare(module: nn.Module, inputs: dict[str, Any], specs: dict[str, nn.Spec]) -> set[str]:
    """Eager equals traced, leaf by leaf; gives the names of the ops."""
    graph = nn.trace(module, specs)
    traced = reference.run(graph, inputs)
    eager = module(**inputs)
    flat = [nn.Tensor(v).numpy() for v in flatten(eager)]
    assert len(flat) == len(traced)
    for a, b in zip(flat, traced.values(), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    return {op.name for op in graph.walk()}


def flatten(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for v in tree.values() for leaf in flatten(v)]
    return [leaf for v in tree for leaf in flatten(v)] if isinstance(tree, tuple) else [tree]


@pytest.mark.parametrize("sign", [1, -1])
def test_cond(sign: int) -> None:
    x = np.full((2, 4), sign, np.float32)
    assert "if" in compare(Conditional(), {"x": x}, {"x": nn.Spec(("n", 4))})


@pytest.mark.parametrize(("start", "steps"), [(1, 0), (6, 8), (27, 111)])
def test_while_loop(start: int, steps: int) -> None:
    inputs = {"n": np.array(start, np.int64)}
    assert Collatz()(**inputs).item() == steps
    assert "while" in compare(Collatz(), inputs, {"n": nn.Spec((), "int64")})


@pytest.mark.parametrize("reverse", [False, True])
def test_scan(reverse: bool) -> None:
    rng = np.random.default_rng(0)
    inputs = {
        "xs": rng.standard_normal((5, 2, 3), np.float32),
        "h": rng.standard_normal((2, 3), np.float32),
    }
    specs = {"xs": nn.Spec(("steps", "n", 3)), "h": nn.Spec(("n", 3))}
    assert "scan" in compare(Cell(reverse), inputs, specs)


def test_scan_is_a_loop() -> None:
    """Against the loop written out in NumPy, both ways."""
    xs = np.arange(4, dtype=np.float32)
    for reverse in (False, True):
        last, ys = nn.scan(lambda c, x: (c * 2 + x, c), nn.Tensor(1.0), nn.Tensor(xs), reverse)
        carried, rows = np.float32(1), np.zeros(4, np.float32)
        for i in reversed(range(4)) if reverse else range(4):
            rows[i], carried = carried, carried * 2 + xs[i]
        assert last.item() == carried
        np.testing.assert_array_equal(ys.numpy(), rows)


def test_a_condition_known_in_the_trace_leaves_no_if() -> None:
    class Known(nn.Module):
        def forward(self, x: nn.Tensor) -> nn.Tensor:
            return nn.cond(np.bool_(True), lambda: x + 1, lambda: x * 2)  # type: ignore[no-any-return]

    graph = nn.trace(Known(), {"x": nn.Spec((2,))})
    assert [op.name for op in graph.walk()] == ["constant", "add"]


class Mismatch(nn.Module):
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def forward(self, x: nn.Tensor) -> Any:
        if self.kind == "cond":
            return nn.cond(x.sum() > 0, lambda: x, lambda: x[:1])
        if self.kind == "while":
            return nn.while_loop(lambda c: c.sum() < 9, lambda c: c[:1], x)
        if self.kind == "predicate":
            return nn.cond(x > 0, lambda: x, lambda: x)
        return nn.scan(lambda c, row: (c + row, row), x.sum(), x.sum())


@pytest.mark.parametrize(
    ("kind", "code"),
    [("cond", "BM2004"), ("while", "BM2004"), ("predicate", "BM2004"), ("scan", "BM1008")],
)
def test_forms_that_do_not_fit(kind: str, code: str) -> None:
    with pytest.raises(BiremeError, match=rf"{code} at tests/frontend/nn/test_control\.py:\d+"):
        nn.trace(Mismatch(kind), {"x": nn.Spec((3,))})


def test_an_eager_scan_without_steps() -> None:
    with pytest.raises(BiremeError, match=r"BM1008.*at least one step.*trace the module"):
        nn.scan(lambda c, x: (c, x), nn.Tensor(0.0), nn.Tensor(np.zeros((0, 2), np.float32)))
