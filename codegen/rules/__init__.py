"""What one element of each op's result is: one table for all ops, one file for each family."""

from __future__ import annotations

from collections.abc import Mapping

from bireme.codegen.evaluate import Rule
from bireme.codegen.rules import (
    constant,
    contraction,
    indexing,
    normalisation,
    pointwise,
    random,
    reduction,
    sampling,
    shape,
    window,
)

RULES: Mapping[str, Rule] = {
    **pointwise.RULES,
    **constant.RULES,
    **random.RULES,
    **shape.RULES,
    **indexing.RULES,
    **sampling.RULES,
    **reduction.RULES,
    **normalisation.RULES,
    **window.RULES,
    **contraction.RULES,
}
