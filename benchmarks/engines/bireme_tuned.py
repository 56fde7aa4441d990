"""Bireme with the tuning records that come with it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.engines import Run
from benchmarks.engines.bireme_ import compiled, loaded


def convert(folder: Path, precision: str) -> None:
    program = compiled(folder, precision)
    if not program.report.records:
        raise ValueError("no tuning records come with Bireme for this model")
    program.save(folder / f"{precision}-tuned.bireme")


def load(folder: Path, threads: int, precision: str) -> Run:
    return loaded(folder / f"{precision}-tuned.bireme", threads)
