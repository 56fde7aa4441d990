"""Bireme itself, untuned."""

from __future__ import annotations

from pathlib import Path

from benchmarks.engines import Run


def convert(folder: Path) -> None:
    import bireme

    bireme.compile(folder / "model.onnx").save(folder / "model.bireme")


def load(folder: Path, threads: int, precision: str) -> Run:
    import bireme

    program = bireme.load(folder / "model.bireme", threads=threads)
    return lambda feed: list(program(feed).values())
