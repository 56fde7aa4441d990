"""Print the size that the runtime adds to a stripped program, and fail above the limit.

    python -m tools.size [--json]

A program that loads and runs an artefact is linked with `libbireme.a` (build/native) and compared
with an empty one. *Text* is what `size` calls so: machine code, constants and unwind tables.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from tools.package_view import ROOT

LIMIT_BYTES = 100 * 1000
LIBRARY = ROOT / "build" / "native" / "runtime" / "libbireme.a"

EMPTY = "int main() { return 0; }\n"
PROGRAM = """
#include "bireme/bireme.h"
int main(int, char** arguments) {
  bireme_model* model = nullptr;
  bireme_session* session = nullptr;
  bireme_tensor tensor{};
  return bireme_model_load_file(arguments[1], nullptr, &model, nullptr) +
         bireme_session_create(model, nullptr, &session, nullptr) +
         bireme_session_run(session, &tensor, 1, &tensor, 1, nullptr);
}
"""


@dataclass(frozen=True)
class Size:
    """Bytes of a program: read-only sections, initialised data, zeroed data, the whole file."""

    text: int
    data: int
    bss: int
    file: int

    def __sub__(self, other: Size) -> Size:
        """What this program has more than another one."""
        return Size(
            self.text - other.text,
            self.data - other.data,
            self.bss - other.bss,
            self.file - other.file,
        )


def measure(program: Path) -> Size:
    """Return the sizes of an ELF program."""
    text = data = bss = 0
    with program.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            flags, size = section["sh_flags"], section["sh_size"]
            if not flags & SH_FLAGS.SHF_ALLOC:
                continue
            if not flags & SH_FLAGS.SHF_WRITE:
                text += size
            elif section["sh_type"] == "SHT_NOBITS":
                bss += size
            else:
                data += size
    return Size(text, data, bss, program.stat().st_size)


def build(source: str, folder: Path, library: Path = LIBRARY) -> Path:
    """Compile and link a stripped program; raises CalledProcessError with the compiler's output."""
    (folder / "main.cc").write_text(source)
    program = folder / "program"
    command = ["c++", "-std=c++17", "-Os", "-s", f"-I{ROOT / 'runtime' / 'include'}", "main.cc"]
    command += [str(library), "-Wl,--gc-sections", "-pthread", "-lm", "-o", str(program)]
    subprocess.run(command, cwd=folder, check=True)
    return program


def runtime_size() -> Size:
    """Return what the runtime adds to a program that uses it."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        with_runtime = measure(build(PROGRAM, folder))
        return with_runtime - measure(build(EMPTY, folder))


def main(arguments: list[str]) -> int:
    """Print the sizes; return 1 when the text is above the limit."""
    size = runtime_size()
    if "--json" in arguments:
        print(json.dumps({**asdict(size), "text_limit": LIMIT_BYTES}))
    else:
        print("runtime, linked into a stripped program (bytes)")
        for name, value in asdict(size).items():
            print(f"  {name:<5} {value:>9,}")
        print(f"  limit {LIMIT_BYTES:>9,} for text")
    return int(size.text > LIMIT_BYTES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
