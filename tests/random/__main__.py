"""Draws random graphs until time is out or one breaks a property.

    python -m tests.random passes --seconds 60
    python -m tests.random compiled --seconds 60 --seed 1234 --jobs 2

Prints how many graphs were tried. A graph that breaks the property is made as plain as possible and
printed as Python, to be given to the property again (`properties.py`); the exit code is then 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.random.example import Example
from tests.random.graphs import examples
from tests.random.properties import (
    compiled_gives_results,
    onnx_gives_results,
    passes_keep_results,
)

PROPERTIES: dict[str, tuple[Callable[[Example], None], int]] = {
    "compiled": (compiled_gives_results, 8),
    "onnx": (onnx_gives_results, 10),
    "passes": (passes_keep_results, 14),
}
_BATCH = 100
_SETTINGS = settings(
    max_examples=_BATCH,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def batch(name: str, number: int, end: float) -> int:
    """Draws one batch of graphs; gives how many were tried before `end`. Raises what they raise."""
    holds, most_ops = PROPERTIES[name]
    tried, failed = 0, False

    @seed(number)
    @_SETTINGS
    @given(examples(most_ops=most_ops))
    def check(example: Example) -> None:
        nonlocal tried, failed
        if time.monotonic() > end and not failed:
            return
        tried += 1
        try:
            holds(example)
        except BaseException:
            failed = True  # from here on it is made plainer, which takes what it takes
            raise

    check()
    return tried


def spread(options: argparse.Namespace) -> int:
    """Runs several processes at once, far enough apart to draw different graphs."""
    command = [sys.executable, "-m", "tests.random", options.property]
    command += ["--seconds", str(options.seconds), "--seed"]
    seeds = [options.seed + (job << 20) for job in range(options.jobs)]
    running = [subprocess.Popen([*command, str(each)]) for each in seeds]
    return max(process.wait() for process in running)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("property", choices=PROPERTIES)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns() % (1 << 32))
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with its own seeds")
    options = parser.parse_args()
    if options.jobs > 1:
        return spread(options)
    end = time.monotonic() + options.seconds
    number, tried = options.seed, 0
    while time.monotonic() < end:
        tried += batch(options.property, number, end)
        number += 1
    sys.stdout.write(f"{tried} random graphs from seed {options.seed} on: all agree\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
