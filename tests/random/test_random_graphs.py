"""Random graphs: what is compiled, and what passes make of it, gives what the reference gives.

In CI the same examples are drawn every time. `make fuzz` draws others, and many more.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.random.example import Example
from tests.random.graphs import examples
from tests.random.properties import compiled_gives_results, passes_keep_results

SETTINGS = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


@seed(0)
@settings(SETTINGS, max_examples=250)
@given(examples(most_ops=12))
def test_passes_keep_what_a_graph_computes(example: Example) -> None:
    passes_keep_results(example)


# Parts, so that workers can share the time.
@pytest.mark.parametrize("part", range(4))
def test_compiled_graphs_give_what_the_reference_gives(part: int) -> None:
    @seed(part)
    @settings(SETTINGS, max_examples=60)
    @given(examples())
    def check(example: Example) -> None:
        compiled_gives_results(example)

    check()
