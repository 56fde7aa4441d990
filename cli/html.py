"""Reports as one HTML file: tables that sort and filter, without anything from a network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from bireme.cli.page import SCRIPT, STYLE


@dataclass(frozen=True)
class Cell:
    """One cell: its text, what it is sorted by (the text unless given), and whether it is good
    (True) or bad (False) news.
    """

    text: str
    key: float | str | None = None
    good: bool | None = None


@dataclass(frozen=True)
class Table:
    """A titled table. Columns listed in `numbers` stand to the right and sort as numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    numbers: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Drawings:
    """What a report shows besides tables: trusted HTML, with its own style and script, and the
    `data` that the script finds as JSON in the element `data`.
    """

    body: str
    style: str
    script: str
    data: Any


def page(
    title: str,
    verdict: Cell,
    facts: Sequence[tuple[str, str]],
    tables: Sequence[Table],
    drawings: Drawings | None = None,
) -> str:
    """The whole document. Everything given is text and is escaped, but the code of `drawings`."""
    drawn = drawings or Drawings("", "", "", None)
    # In a script nothing is an entity; only "<" could end it.
    data = json.dumps(drawn.data, separators=(",", ":")).replace("<", "\\u003c")
    listed = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    body = "".join(_table(table) for table in tables if table.rows)
    # The policy keeps even a mistake in escaping from loading or running anything.
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{STYLE}{drawn.style}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><p class="{_news(verdict)}">{escape(verdict.text)}</p></header>
<dl>{listed}</dl>
{drawn.body}{body}
<script type="application/json" id="data">{data}</script>
<script>{SCRIPT}{drawn.script}</script>
</body>
</html>
"""


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col"{_right(c, table)} aria-sort="none"><button>{escape(c)}</button></th>'
        for c in table.columns
    )
    rows = "".join(
        "<tr>"
        + "".join(_cell(cell, c, table) for cell, c in zip(row, table.columns, strict=True))
        + "</tr>"
        for row in table.rows
    )
    return f"""<section>
<div class="bar"><h2>{escape(table.title)}</h2>
<label>filter <input type="search" placeholder="any word"></label>
<output>{len(table.rows)} rows</output></div>
<div class="wide"><table><thead><tr>{head}</tr></thead>
<tbody>{rows}</tbody></table></div>
</section>
"""


def _cell(cell: Cell | str, column: str, table: Table) -> str:
    cell = Cell(cell) if isinstance(cell, str) else cell
    news = _news(cell)
    classes = " ".join(filter(None, (news, "number" if column in table.numbers else "")))
    key = "" if cell.key is None else f' data-key="{escape(str(cell.key))}"'
    shown = f' class="{classes}"' if classes else ""
    return f'<td data-label="{escape(column)}"{shown}{key}>{escape(cell.text)}</td>'


def _right(column: str, table: Table) -> str:
    return ' class="number"' if column in table.numbers else ""


def _news(cell: Cell) -> str:
    return "" if cell.good is None else "good" if cell.good else "bad"
