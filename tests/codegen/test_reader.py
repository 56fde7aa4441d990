"""Artefacts read back: sizes, places and lives as in the runtime; where bytes come from."""

from __future__ import annotations

import numpy as np
import pytest

from bireme import zoo
from bireme.codegen.arena import spans
from bireme.codegen.classes import CLASSES, class_of, done_of_counted, form_of
from bireme.codegen.compiler import Options, compile_graph, prepare
from bireme.codegen.plan import Instruction, Plan, Tensor
from bireme.codegen.reader import read_plan
from bireme.codegen.residence import traffic
from bireme.frontend import nn
from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.ir import DType, Graph
from bireme.runtime import Model, Session
from bireme.targets.registry import find

TARGET = find("x86:znver4")


class Net(nn.Module):
    """Convolutions of three kinds, and a product."""

    def __init__(self) -> None:
        self.first = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.depth = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        x = F.relu(self.first(x))
        x = F.relu(self.depth(x))
        return self.head(x.mean((2, 3)))


def net() -> Graph:
    return nn.trace(Net(), {"x": nn.Spec(("n", 3, "h", "w"), "float32")})


def test_sizes_and_places_are_those_of_the_runtime():
    data, _ = compile_graph(net(), TARGET, Options(jobs=0))
    session = Session(Model.load(data), 1)
    for n, h, w in ((1, 8, 8), (2, 13, 6)):
        session.run({"x": np.zeros((n, 3, h, w), np.float32)})
        plan, kernels = read_plan(data, {"n": n, "h": h, "w": w})
        assert plan.arena_bytes == session.memory.arena_bytes
        assert plan.arena_lower_bound <= plan.arena_bytes
        assert plan.tensors[plan.inputs[0]].shape == (n, 3, h, w)
        assert len(set(kernels)) == len(kernels)
        alive = list(spans(plan).items())
        for i, (a, one) in enumerate(alive):
            for b, other in alive[:i]:
                if one.first <= other.last and other.first <= one.last:
                    x, y = plan.tensors[a], plan.tensors[b]
                    assert x.offset + x.bytes <= y.offset or y.offset + y.bytes <= x.offset


def test_launches_know_what_they_write_and_what_they_are():
    data, _ = compile_graph(net(), TARGET, Options(jobs=0))
    plan, _ = read_plan(data, {"n": 1, "h": 8, "w": 8})
    sources = [plan.sources[i.source] for i in plan.instructions]
    assert {s.kind for s in sources} <= {*CLASSES}
    forms = [s.form for s in sources if s.form]
    assert any(form.startswith("3×3/2 3→16 at ") for form in forms)
    assert any(form.startswith("3×3 16→16 at ") for form in forms)
    kinds = [s.kind for s in sources]
    assert kinds.count("depthwise convolution") == 1
    assert "matmul" in kinds
    read = {a for i in plan.instructions for a in i.args if a not in i.written}
    written = {a for i in plan.instructions for a in i.written}
    assert set(plan.inputs) <= read
    assert set(plan.outputs) & {
        plan.tensors[a].base if plan.tensors[a].place == "View" else a for a in written
    } == set(plan.outputs)
    assert all(i.operations is not None and i.moved is not None for i in plan.instructions)


def test_a_form_tells_what_winograd_saves():
    graph = nn.trace(nn.Conv2d(64, 64, 3, padding=1), {"x": nn.Spec((1, 64, 56, 56))})
    lowered, _ = prepare(graph, TARGET)
    (form,) = [form_of(op) for op in lowered.launches.values() if class_of(op) == "convolution"]
    assert form == "3×3 F(4×4) 64→64 at 56×56"
    assert done_of_counted(form) == pytest.approx(36 / 144)
    assert done_of_counted("3×3 F(2×2) 8→8 at 4×4") == pytest.approx(16 / 36)
    assert done_of_counted("3×3 64→64 at 56×56") == 1


def test_classes_of_every_zoo_family():
    lowered, _ = prepare(zoo.trace("bert_tiny"), TARGET)
    ops = list(lowered.launches.values())
    assert {class_of(op) for op in ops} >= {"matmul", "normalisation"}
    assert all("×" in form_of(op) for op in ops if class_of(op) == "matmul")


def chain(weight: int, activation: int) -> Plan:
    """Two launches, a to b to c, each with a weight of its own."""
    plan = Plan("chain", {})

    def tensor(place: str, size: int, offset: int = 0) -> int:
        plan.tensors.append(Tensor(DType.U8, (size,), size, place, offset=offset))
        return len(plan.tensors) - 1

    a, b, c = (
        tensor("Input", activation),
        tensor("Arena", activation),
        tensor("Output", activation),
    )
    for x, y in ((a, b), (b, c)):
        plan.instructions.append(Instruction("Launch", args=(x, tensor("Weight", weight), y)))
    return plan


@pytest.mark.parametrize(
    ("weight", "activation", "read", "written"),
    [
        (10, 10, [{0: 20}, {0: 20}], [{0: 10}, {0: 10}]),  # all of it stays in the first cache
        (400, 10, [{1: 410}, {1: 400, 0: 10}], [{0: 10}, {1: 10}]),  # what is fresh does
        (4000, 10, [{2: 4010}, {2: 4000, 1: 10}], [{1: 10}, {2: 10}]),
    ],
)
def test_where_bytes_come_from(weight, activation, read, written):
    found = traffic(chain(weight, activation), [500, 5000])
    assert [found[i].read for i in range(2)] == read
    assert [found[i].written for i in range(2)] == written


def test_memory_of_a_dead_tensor_is_still_warm():
    plan = Plan("taken over", {})
    for offset, size in ((0, 100), (0, 60), (100, 60)):
        plan.tensors.append(Tensor(DType.U8, (size,), size, "Arena", offset=offset))
    plan.instructions = [
        Instruction("Launch", args=(2, 0)),
        Instruction("Launch", args=(0, 2)),
        Instruction("Launch", args=(2, 1)),  # where tensor 0 was
    ]
    assert traffic(plan, [200])[2].written == {0: 60}
