"""Reads the text in a picture with three networks of PaddleOCR, compiled by Bireme.

`make demo` runs this. The networks (text detector, direction classifier, text recogniser) ship in
the package rapidocr-onnxruntime, which also cuts the picture up and decodes what comes out; only
the engine that runs the networks differs between the two columns that are printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import rapidocr_onnxruntime
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from rapidocr_onnxruntime import RapidOCR

import bireme as bm
from bireme.cli.output import megabytes, print_table, progress_bar

MODELS = Path(rapidocr_onnxruntime.__file__).parent / "models"
NETWORKS = {
    "detector": "ch_PP-OCRv4_det_infer.onnx",
    "classifier": "ch_ppocr_mobile_v2.0_cls_infer.onnx",
    "recogniser": "ch_PP-OCRv4_rec_infer.onnx",
}
LINES = (
    "A bireme has two banks of oars",
    "Opened daily 9:00 to 17:30",
    "INVOICE No. 20264117",
    "Total amount 1,284.50 EUR",
)
ROUNDS = 5


@dataclass
class Timed:
    """A network behind the call that rapidocr makes; notes how long each call takes."""

    run: Callable[[Any], list[Any]]
    seconds: list[float] = field(default_factory=list)
    inner: Any = None

    def __call__(self, batch: Any) -> list[Any]:
        start = perf_counter()
        outputs = self.run(batch)
        self.seconds.append(perf_counter() - start)
        return outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)  # rapidocr asks its session for the alphabet


def draw_picture(path: Path | None) -> np.ndarray[Any, Any]:
    """A page with four lines of text, slightly turned, blurred and noisy, as a camera gives it."""
    if path is not None:
        return np.asarray(Image.open(path).convert("RGB"))[:, :, ::-1]
    page = Image.new("RGB", (880, 480), (236, 231, 220))
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(LINES):
        font = ImageFont.load_default(34 + 4 * (number % 2))
        pen.text((50, 50 + 100 * number), line, (30, 34, 60), font)
    page = page.rotate(1.5, Image.Resampling.BICUBIC, fillcolor=(236, 231, 220))
    page = page.filter(ImageFilter.GaussianBlur(0.6))
    noise = np.random.default_rng(0).normal(0, 4, (480, 880, 3))
    return np.clip(np.asarray(page)[:, :, ::-1] + noise, 0, 255).astype(np.uint8)


def with_engine(
    runs: dict[str, Callable[[Any], list[Any]]] | None,
) -> tuple[RapidOCR, list[Timed]]:
    """A reader whose networks run on ONNX Runtime, or on `runs`."""
    reader = RapidOCR()
    places = {
        "detector": (reader.text_det, "infer"),
        "classifier": (reader.text_cls, "infer"),
        "recogniser": (reader.text_rec, "session"),
    }
    timed = []
    for name, (owner, attribute) in places.items():
        own = getattr(owner, attribute)
        timed.append(Timed(runs[name] if runs else own, inner=own))
        setattr(owner, attribute, timed[-1])
    return reader, timed


def compile_networks(folder: Path) -> dict[str, Path]:
    """Compiles the three networks; each artefact takes any picture size."""
    folder.mkdir(parents=True, exist_ok=True)
    artefacts = {}
    with progress_bar(quiet=False) as tell:
        for name, file in NETWORKS.items():
            start = perf_counter()

            def step(what: str, done: int, total: int, name: str = name) -> None:
                tell(f"{name}: {what}", done, total)

            program = bm.compile(MODELS / file, progress=step)
            artefacts[name] = folder / f"{name}.bireme"
            program.save(artefacts[name])
            size = megabytes(artefacts[name].stat().st_size)
            print(f"compiled the {name} in {perf_counter() - start:.1f} s: {size}", flush=True)
    return artefacts


def peak_memory() -> int:
    """Most memory this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    """Compiles, reads with both engines, compares; the exit code says whether the text is right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", nargs="?", type=Path, help="a picture; default: a drawn one")
    parser.add_argument("--folder", type=Path, default=Path("build/demo"), help="for artefacts")
    options = parser.parse_args()

    artefacts = compile_networks(options.folder)
    compiled_peak = peak_memory()
    programs = {name: bm.load(path) for name, path in artefacts.items()}
    runs = {
        name: (lambda batch, program=program: list(program(batch).values()))
        for name, program in programs.items()
    }
    picture = draw_picture(options.picture)
    ours, our_times = with_engine(runs)
    theirs, their_times = with_engine(None)
    for _ in range(ROUNDS):  # in turns, so that both meet the same machine
        read, _ = ours(picture)
        expected, _ = theirs(picture)

    read_lines = [line for _, line, _ in read or ()]
    expected_lines = [line for _, line, _ in expected or ()]
    rows = [
        (a, b, "same" if a == b else "DIFFERENT")
        for a, b in zip(read_lines, expected_lines, strict=False)
    ]
    print()
    print_table("what was read", ("Bireme", "ONNX Runtime", ""), rows)
    table = []
    for name, mine, peer in zip(NETWORKS, our_times, their_times, strict=True):
        calls = len(mine.seconds) // ROUNDS
        a, b = (1e3 * median(t.seconds[calls:]) for t in (mine, peer))
        size = megabytes(artefacts[name].stat().st_size)
        table.append((name, f"{a:.2f}", f"{b:.2f}", f"{b / a:.2f}", size))
    print()
    columns = ("network", "Bireme ms", "ONNX Runtime ms", "ratio", "artefact")
    print_table(f"latency of a call, {os.cpu_count()} processors", columns, table)
    sessions = sum(program.peak_bytes for program in programs.values())
    print(f"\nmemory of the three sessions {megabytes(sessions)}; ", end="")
    peaks = (megabytes(peak_memory()), megabytes(compiled_peak))
    print("peak of this process {} (after compiling {})".format(*peaks))

    wanted = list(LINES) if options.picture is None else expected_lines
    if [_plain(x) for x in read_lines] != [_plain(x) for x in wanted]:
        print(f"expected {wanted}", file=sys.stderr)
        return 1
    return 0


def _plain(text: str) -> str:
    """Text without spaces, which the recogniser does not promise to keep."""
    return "".join(text.split())


if __name__ == "__main__":
    sys.exit(main())
