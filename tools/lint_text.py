"""Check text files for what no linter of their language finds.

    python -m tools.lint_text FILE...

Exit status 1 when a file has a fault; each is printed as `file:line: what`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

# Assembled from halves, so that this file passes its own check.
FAULTS: list[tuple[re.Pattern[str], str]] = [
    (re.compile(r"[ \t]+$"), "trailing white space"),
    (re.compile(r"\r"), "carriage return"),
    (re.compile(r"^(<{7}|>{7}) "), "merge marker"),
    (re.compile("/wor" + "k/|/opt/py" + "pi|/ro" + "ot/"), "a path of one machine"),
    (re.compile("pypi\\.org/sim" + "ple|files\\.python" + "hosted"), "a package registry's host"),
]


def faults(text: str) -> Iterator[tuple[int, str]]:
    """Yield `(line number from 1, what is wrong)`."""
    for number, line in enumerate(text.split("\n"), 1):
        for pattern, what in FAULTS:
            if pattern.search(line):
                yield number, what
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no newline at the end of the file"


def main(names: list[str]) -> int:
    """Print the faults of the named files; return the exit status."""
    found = [f"{n}:{line}: {what}" for n in names for line, what in faults(Path(n).read_text())]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
