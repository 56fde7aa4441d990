"""Feeds mutated models to the importer.

    python -m tests.frontend.onnx.fuzz --seconds 60            # new models every time
    python -m tests.frontend.onnx.fuzz --first 0 --count 2000  # always the same ones
    python -m tests.frontend.onnx.fuzz --first 1234 --count 1  # one of them again

Each model has a number, from which it is made. A model that breaks a promise is written to
`build/fuzz/onnx`, and the exit code is 1; a crash of the process leaves its number behind there.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.frontend.onnx.fuzz.examine import Overtime, examine, prepare
from tests.frontend.onnx.fuzz.mutate import mutated
from tests.frontend.onnx.fuzz.seeds import seeds

FOUND = Path("build/fuzz/onnx")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(first: int, count: int | None, seconds: float | None, inference: int = 100) -> int:
    """Number of models that broke a promise. Every `inference`th has its types inferred."""
    corpus = seeds()
    codes: Counter[str] = Counter()
    faults = 0
    FOUND.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        end = time.monotonic() + seconds if seconds else None
        number = first
        while (count is None or number < first + count) and (end is None or time.monotonic() < end):
            data, notes = mutated(corpus, random.Random(number))
            (FOUND / "current").write_text(f"{number}\n{notes}\n")
            try:
                codes[examine(data, folder, inference=number % inference == 0)] += 1
            except (Exception, Overtime):
                faults += 1
                path = FOUND / f"{number}.onnx"
                path.write_bytes(data)
                say(f"{path}: {notes}\n{traceback.format_exc(limit=-6)}")
            number += 1
    listed = ", ".join(f"{n} {code or 'imported'}" for code, n in codes.most_common())
    say(f"{number - first} models from {first} on: {listed}; {faults} broke a promise")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=None, help="number of the first model")
    parser.add_argument("--count", type=int, default=None, help="how many models")
    parser.add_argument("--seconds", type=float, default=None, help="how long")
    options = parser.parse_args()
    first = time.time_ns() % (1 << 40) if options.first is None else options.first
    if options.count is None and options.seconds is None:
        parser.error("give --count or --seconds")
    return 1 if run(first, options.count, options.seconds) else 0


if __name__ == "__main__":
    sys.exit(main())
