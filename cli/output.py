"""How commands talk: text for people, one JSON object for scripts, errors on stderr."""

from __future__ import annotations

import json as json_module
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from bireme.ir import BiremeError
from bireme.runtime import RuntimeFault

if TYPE_CHECKING:
    from bireme.codegen.compiler import Progress as Tell

FAULT, ERROR = 1, 2
# What the status of a command means to a script; docs/commands.md shows the table.
EXIT_CODES = (
    ("0", "all commands", "done: compiled, run, all nodes can be compiled, the artefact agrees"),
    ("0", "`tune`", "done, also when Ctrl-C ended the search: what was found is kept"),
    ("1", "all but `compare`", "the model, its inputs, the artefact or a file are at fault"),
    ("1", "`check`", "some node cannot be compiled for some of the targets asked for"),
    ("1", "`compare`", "the artefact differs from the model beyond the tolerance"),
    ("2", "`compare`", "nothing could be compared: a file, an option or the inputs are at fault"),
    (
        "2",
        "all commands",
        "the command line is wrong: an unknown option, a missing argument",
    ),
)
_PIPE_WIDTH = 200
# How the Python front end says where an op comes from.
_PLACE = re.compile(r" \([^()]*:\d+\)$")


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    json_module.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on standard output; numbers stand to the right."""
    heading = Text(title) if title else None
    table = Table(title=heading, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        right = all(isinstance(row[number], (int, float)) for row in rows) and bool(rows)
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    # A file or a pipe has no width to wrap at.
    Console(soft_wrap=True, width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)


def quantity(count: int) -> str:
    """A number of operations for people: `1.15 G`."""
    for size, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g} {letter}"
    return str(count)


def megabytes(count: int) -> str:
    """A byte count for people."""
    return f"{count / 1e6:.2f} MB" if count >= 100_000 else f"{count / 1e3:.1f} KB"


def short_names(nodes: Sequence[str]) -> list[str]:
    """Names without the place in a Python file, each once."""
    return list(dict.fromkeys(_PLACE.sub("", node) for node in nodes))


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Tell]:
    """Shows on stderr what a long step is doing, when that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=quiet or not console.is_terminal
    ) as bar:
        task = bar.add_task("starting", total=1)

        def tell(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield tell


@contextmanager
def reporting_errors(json: bool, status: int = FAULT) -> Iterator[None]:
    """Turns the errors that users can meet into a message and the exit code `status`."""
    try:
        yield
    except BiremeError as error:
        fields = {
            "code": error.code,
            "where": error.where,
            "message": error.detail,
            "hint": error.hint,
        }
        _report(fields, str(error), json, status)
    except RuntimeFault as error:
        where = error.node or error.op
        fields = {"code": error.code, "where": where, "message": error.message, "hint": error.hint}
        _report(fields, str(error), json, status)


def _report(fields: dict[str, str], text: str, json: bool, status: int) -> None:
    if json:
        print_json({"error": fields})
    else:
        sys.stderr.write(f"error: {text}\n")
    raise typer.Exit(status)
