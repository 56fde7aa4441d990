"""Random functions: eager, traced and compiled."""

from __future__ import annotations

import numpy as np

from bireme import nn
from bireme.codegen.compiler import Options, compile_graph
from bireme.ir import reference
from bireme.nn import functional as F  # noqa: N812
from bireme.runtime import Model, Session
from bireme.targets.registry import find


class Sampler(nn.Module):
    """Noise twice, and in every step of a loop."""

    def forward(self, x: nn.Tensor) -> dict[str, nn.Tensor]:
        def step(total: nn.Tensor, row: nn.Tensor) -> tuple[nn.Tensor, nn.Tensor]:
            noise = F.rand_like(row)
            return total + noise, noise

        total, noises = nn.scan(step, F.zeros((3,)), x)
        return {
            "noisy": x + F.randn_like(x),
            "other": F.randn(x.shape),
            "kept": F.bernoulli(F.sigmoid(x)),
            "noises": noises,
            "total": total,
        }


def test_a_compiled_module_draws_what_the_reference_draws() -> None:
    graph = nn.trace(Sampler(), {"x": nn.Spec(("n", 3))})
    streams = [op.attrs["stream"] for op in graph.walk() if op.name == "random_key"]
    assert len(set(streams)) == len(streams) == 4
    data, _ = compile_graph(graph, find("x86"), Options(cache=None, jobs=0))
    session = Session(Model.load(data), seed=9)
    x = np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)
    for number in range(2):
        found = session.run({"x": x})
        wanted = reference.run(graph, {"x": x}, seed=9, run_number=number)
        for name, array in wanted.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5, err_msg=name)
        assert len(np.unique(found["noises"])) == 15
        assert not np.array_equal(found["noisy"] - x, found["other"])
        assert set(np.unique(found["kept"])) <= {0.0, 1.0}


def test_eager_numbers_come_from_the_seed_in_force() -> None:
    def drawn() -> list[np.ndarray]:
        return [F.rand((4,)).numpy(), F.randn((4,), "float64").numpy(), F.rand((4,)).numpy()]

    with nn.seed(7):
        first = drawn()
    with nn.seed(7):
        again = drawn()
    with nn.seed(8):
        other = drawn()
    assert [a.tolist() for a in first] == [a.tolist() for a in again]
    assert len({tuple(a.tolist()) for a in (*first, *other)}) == 6
    assert [a.dtype.name for a in first] == ["float32", "float64", "float32"]


def test_bernoulli_takes_chances_of_every_float_type() -> None:
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        found = F.bernoulli(F.full((100,), 1, dtype))
        assert found.dtype.label == dtype
        assert (found.numpy() == 1).all()
        assert (F.bernoulli(F.zeros((100,), dtype)).numpy() == 0).all()
