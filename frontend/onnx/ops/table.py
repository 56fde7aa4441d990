"""Shape of the converter tables."""

from __future__ import annotations

from bireme.frontend.onnx.node import Converter

# One converter for all opsets, or (first opset, converter) pairs, oldest first.
Entry = Converter | tuple[tuple[int, Converter], ...]
Table = dict[str, Entry]


def versions(entry: Entry) -> tuple[tuple[int, Converter], ...]:
    """The entry as (first opset, converter) pairs."""
    return entry if isinstance(entry, tuple) else ((1, entry),)
