"""Random graphs: what is compiled, what passes make of them and what comes back from ONNX gives
what the reference gives.

Here the same examples are drawn every time; `python -m tests.random` draws others, and many more.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, seed, settings

from bireme.ir import OPS
from tests.random.example import Example
from tests.random.graphs import MAKERS, NOT_DRAWN, examples
from tests.random.properties import (
    compiled_gives_results,
    onnx_gives_results,
    passes_keep_results,
)

SETTINGS = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


def has(example: Example, op: str) -> bool:
    return any(each.name == op for each in example.graph().walk())


def test_every_op_of_the_table_has_a_maker() -> None:
    assert set(MAKERS) | NOT_DRAWN == set(OPS)


@pytest.mark.parametrize("part", range(4))
def test_passes_keep_what_a_graph_computes(part: int) -> None:
    @seed(part)
    @settings(SETTINGS, max_examples=60)
    @given(examples(most_ops=12))
    def check(example: Example) -> None:
        passes_keep_results(example)

    check()


@pytest.mark.parametrize("part", range(2))
def test_exported_graphs_are_imported_as_they_were(part: int) -> None:
    @seed(part)
    @settings(SETTINGS, max_examples=60)
    @given(examples())
    def check(example: Example) -> None:
        onnx_gives_results(example)

    check()


@pytest.mark.parametrize("op", MAKERS)
def test_compiled_graphs_give_what_the_reference_gives(op: str) -> None:
    held = []

    @seed(0)
    @settings(SETTINGS, max_examples=3)
    @given(examples(op=op))
    def check(example: Example) -> None:
        held.append(has(example, op))
        compiled_gives_results(example)

    check()
    assert any(held), f"no example has {op}"
