"""How often a loop turns that counts: `while i < n: i += 1`, as exporters write `for i in range(n)`
where it appends to a list.
"""

from __future__ import annotations

from collections.abc import Sequence

from bireme.frontend.onnx.emit import Tensor
from bireme.frontend.onnx.ops.offsets import above, known_size, shown
from bireme.ir import Dim, ceildiv, maximum


def most_steps(
    start: Sequence[Tensor], before: Sequence[Tensor], after: Sequence[Tensor], condition: Tensor
) -> Dim | None:
    """The most steps of a loop whose body goes on while one of the carried values is below a size,
    and adds to it; None for other loops.

    `start` are the values carried into the loop, `before` and `after` those of a step.
    """
    test = None if condition.value is None else shown(condition.value).owner
    if test is None or test.name not in ("less", "greater"):
        return None
    counter, limit = test.operands if test.name == "less" else reversed(test.operands)
    end = known_size(limit)
    for first, old, new in zip(start, before, after, strict=True):
        if new.value is None or shown(new.value) != shown(counter):
            continue
        step = above(counter, old.value)
        known = first.dims is not None and len(first.dims) == 1
        if end is not None and step is not None and step > 0 and known and first.dims is not None:
            # The condition has been tested when the first step is taken.
            return maximum(ceildiv(end - first.dims[0], step), 1)
    return None
