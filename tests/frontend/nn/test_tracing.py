"""Tracing: names, places, weights, symbols, outputs, and what is refused with which words."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

from bireme.frontend import nn
from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.ir import BiremeError, Graph, SymbolRange, reference

X = {"x": nn.Spec(("batch", 4), "float32")}


class Function(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def forward(self, x: nn.Tensor) -> Any:
        return self.function(x)


class Branch(nn.Module):
    def __init__(self) -> None:
        self.conv1 = nn.Conv2d(3, 3, 3, padding="same")

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        return self.conv1(x) + x  # the line of "sum"


class Deep(nn.Module):
    def __init__(self) -> None:
        self.layers = nn.ModuleList([Branch(), Branch()])

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def line_of(text: str) -> int:
    """Where in this file a line that ends in this text stands."""
    lines = inspect.getsource(inspect.getmodule(line_of) or Deep).splitlines()
    (found,) = [i for i, line in enumerate(lines, 1) if line.endswith(text)]
    return found


def nodes(graph: Graph, name: str) -> list[str]:
    return [op.node for op in graph.walk() if op.name == name]


def test_ops_know_their_module_and_line() -> None:
    graph = nn.trace(Deep(), {"x": nn.Spec(("n", 3, "h", "w"))})
    line = line_of('# the line of "sum"')
    here = f"tests/frontend/nn/test_tracing.py:{line}"
    assert nodes(graph, "conv") == [f"layers.{i}.conv1 ({here})" for i in (0, 1)]
    assert nodes(graph, "add") == [
        f"layers.0.conv1 ({here})",
        f"layers.0 ({here})",
        f"layers.1.conv1 ({here})",
        f"layers.1 ({here})",
    ]


def test_weights_are_shared_by_name_and_not_copied() -> None:
    module = Deep()
    graph = nn.trace(module, {"x": nn.Spec((1, 3, 5, 5))})
    state = module.state_dict()
    assert sorted(graph.weights) == sorted(state)
    assert all(graph.weights[k] is v for k, v in state.items())


def test_a_weight_used_twice_is_one_constant() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            self.fc = nn.Linear(4, 4, bias=False)

        def forward(self, x: nn.Tensor) -> nn.Tensor:
            return self.fc(self.fc(x)) * 2.0 + 2.0

    graph = nn.trace(Twice(), X)
    # The number 2 also appears once.
    assert len(nodes(graph, "constant")) == 2


def test_symbols_and_their_ranges() -> None:
    class Two(nn.Module):
        def forward(self, x: nn.Tensor, y: nn.Tensor) -> nn.Tensor:
            return F.cat([x, y], axis=0)

    inputs = {"x": nn.Spec(("n", "width")), "y": nn.Spec(("2*m", "width"))}
    graph = nn.trace(Two(), inputs, {"width": SymbolRange(1, 8, 4)}, name="two")
    assert graph.name == "two"
    assert str(graph.outputs[0].type) == "float32[n + 2*m, width]"
    assert graph.symbols == {
        "n": SymbolRange(1, None, 1),
        "m": SymbolRange(1, None, 1),
        "width": SymbolRange(1, 8, 4),
    }


class Pair(NamedTuple):
    first: nn.Tensor
    second: nn.Tensor


@dataclass
class Scores:
    logits: nn.Tensor
    states: tuple[nn.Tensor, nn.Tensor]
    cache: nn.Tensor | None = None


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (lambda x: x + 1, ["output"]),
        (lambda x: (x + 1, x * 2), ["output.0", "output.1"]),
        (lambda x: [x + 1], ["output.0"]),
        (lambda x: {"a": x + 1, "b": (x * 2, x * 3)}, ["a", "b.0", "b.1"]),
        (lambda x: Pair(x + 1, x * 2), ["first", "second"]),
        (lambda x: Scores(x + 1, (x * 2, x * 3)), ["logits", "states.0", "states.1"]),
    ],
)
def test_outputs_are_named_by_their_form(function: Any, names: list[str]) -> None:
    assert nn.trace(Function(function), X).output_names == names


def test_examples_serve_as_specs() -> None:
    graph = nn.trace(Function(lambda x: x + 1), {"x": np.zeros((2, 3), np.int8)})
    assert str(graph.inputs[0].type) == "int8[2, 3]"


def test_a_graph_outlives_its_module() -> None:
    """Replacing a parameter later does not change what was traced."""
    module = nn.Linear(4, 2, bias=False)
    x = np.ones((1, 4), np.float32)
    before = module(x).numpy()
    graph = nn.trace(module, X)
    module.weight.data = np.zeros((2, 4), np.float32)
    np.testing.assert_array_equal(reference.run(graph, {"x": x})["output"], before)


def test_constants_computed_in_forward_are_folded() -> None:
    """Ops on arrays alone leave no trace."""
    steps = np.arange(4, dtype=np.float32)
    graph = nn.trace(Function(lambda x: x + F.exp(steps) * 2), X)
    assert [op.name for op in graph.walk()] == ["constant", "add"]


def leak(x: nn.Tensor) -> nn.Tensor:
    LEAKED.append(x)
    return x + 1


LEAKED: list[nn.Tensor] = []


def test_a_traced_tensor_does_not_outlive_its_trace() -> None:
    nn.trace(Function(leak), X)
    with pytest.raises(BiremeError, match=r"BM1008.*after its trace has ended"):
        LEAKED[0] + 1
    with pytest.raises(BiremeError, match=r"BM1008.*of an earlier trace"):
        nn.trace(Function(lambda x: x + LEAKED[0]), X)


def branch(x: nn.Tensor) -> nn.Tensor:
    if x.sum() > 0:  # the line of "if"
        return x
    return -x


REFUSED: list[tuple[Callable[[nn.Tensor], Any], str]] = [
    (branch, r"Python control flow depends on it.*nn\.cond, nn\.while_loop"),
    (lambda x: float(x.sum()), "turned into a Python float"),
    (lambda x: int(x.argmax(0)[0]), "turned into a Python int"),
    (lambda x: [1, 2][x.argmax(0)[0]], "used as a Python index"),
    (lambda x: x.numpy() + 1, "its value is asked for"),
    (lambda x: np.asarray(x) + 1, "its value is asked for"),
    (lambda x: [row + 1 for row in x], r"its length is batch.*nn\.scan"),
    (lambda x: F.split(x, 2), r"pieces cannot be counted.*list the size of every piece"),
    (lambda x: x.undefined, "AttributeError: 'Tensor' object has no attribute 'undefined'"),
    (lambda x: np.exp(x), "TypeError: operand 'Tensor' does not support ufuncs"),
    (lambda x: x + "a", r"BM2003 at body \(.*test_tracing\.py:\d+\)"),
    (lambda _: "nothing", "a str stands where a tensor is expected"),
    (lambda _: None, "forward returned no tensor"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_cannot_be_traced_says_so(number: int) -> None:
    function, text = REFUSED[number]
    with pytest.raises(BiremeError, match=text) as caught:
        nn.trace(nn.Sequential({"body": Function(function)}), X)
    assert caught.value.code in ("BM1008", "BM2003")


def test_the_error_names_module_and_line() -> None:
    with pytest.raises(BiremeError) as caught:
        nn.trace(nn.Sequential({"body": Function(branch)}), X)
    line = line_of('# the line of "if"')
    assert caught.value.where == f"body (tests/frontend/nn/test_tracing.py:{line})"


def test_an_error_of_python_names_module_and_line() -> None:
    class Wrong(nn.Module):
        def forward(self, x: nn.Tensor) -> nn.Tensor:
            del x
            raise KeyError("lost")  # the line of "raise"

    with pytest.raises(BiremeError) as caught:
        nn.trace(nn.Sequential(nn.ReLU(), Wrong()), X)
    line = line_of('# the line of "raise"')
    assert str(caught.value) == (
        f"BM1008 at 1 (tests/frontend/nn/test_tracing.py:{line}): "
        "a Python model could not be traced: KeyError: 'lost' "
        "(hint: look at the line named in the message)"
    )
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_eager_error_of_python_stays_itself() -> None:
    with pytest.raises(KeyError):
        Function(lambda _: {}["lost"])(np.zeros(1, np.float32))


@pytest.mark.parametrize(
    "run", [lambda net: net(np.zeros((1, 4), np.float32)), lambda net: nn.trace(net, X)]
)
def test_shapes_that_do_not_fit_name_the_layer(run: Callable[[nn.Module], Any]) -> None:
    net = nn.Sequential({"a": nn.Linear(4, 3), "b": nn.Linear(4, 2)})
    with pytest.raises(BiremeError, match=r"BM2004 at b \(tests/frontend/nn/test_tracing\.py:"):
        run(net)


@pytest.mark.parametrize(
    ("inputs", "detail"),
    [
        ({"y": X["x"]}, r"forward takes \(x\); missing: x, unexpected: y"),
        ({}, "missing: x"),
        ({**X, "z": X["x"]}, "unexpected: z"),
    ],
)
def test_inputs_must_fit_forward(inputs: dict[str, nn.Spec], detail: str) -> None:
    with pytest.raises(BiremeError, match=f"BM1008 at Function.*{detail}"):
        nn.trace(Function(lambda x: x), inputs)


def test_bad_specs() -> None:
    with pytest.raises(BiremeError, match="BM2006"):
        nn.trace(Function(lambda x: x + 1), {"x": nn.Spec(("n!",))})
    with pytest.raises(BiremeError, match="BM2003"):
        nn.trace(Function(lambda x: x + 1), {"x": nn.Spec((1,), "float33")})


def test_a_trace_inside_a_trace_is_refused() -> None:
    def nested(x: nn.Tensor) -> nn.Tensor:
        nn.trace(nn.ReLU(), X)
        return x

    with pytest.raises(BiremeError, match="a trace is already under way"):
        nn.trace(Function(nested), X)


def test_eager_calls_work_inside_a_trace() -> None:
    """A module whose weights do not enter the graph can be used to compute constants."""
    table = nn.Tensor(np.arange(4, dtype=np.float32))
    graph = nn.trace(Function(lambda x: x + table.sum()), X)
    found = reference.run(graph, {"x": np.zeros((1, 4), np.float32)})["output"]
    np.testing.assert_array_equal(found, np.full((1, 4), 6.0))
