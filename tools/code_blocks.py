"""Find the fenced code blocks of Markdown pages, so that tests can run them.

A block that is not to be run says why, in a comment on a line of its own before the fence:

    <!-- not run: CI runs this command itself -->
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n+)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block; `line` is where its text starts, `not_run` is "" for a block to be run."""

    line: int
    language: str
    text: str
    not_run: str


def code_blocks(page: str) -> Iterator[Block]:
    """Yield the blocks of a page in order. Only fences that start in the first column count."""
    for match in _FENCE.finditer(page):
        line = page.count("\n", 0, match.start("text")) + 1
        yield Block(line, match["language"], match["text"], match["reason"] or "")
