"""Which state the machine is in. What it can do at most is known to `bireme.codegen.limits`."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

from benchmarks.environments import ROOT

FOLDER = ROOT / "build" / "benchmarks"
# Round trips of a cache line, in nanoseconds: some 50 between cores that share a last-level cache,
# over 300 between cores that do not.
NEAR = 150.0


def _program(name: str) -> Path:
    """A program of this folder, built for this machine; needs GCC."""
    source, program = Path(__file__).with_name(f"{name}.c"), FOLDER / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        FOLDER.mkdir(parents=True, exist_ok=True)
        command = ["gcc", "-O3", "-march=native", "-pthread", "-o", str(program), str(source)]
        subprocess.run(command, check=True)
    return program


def round_trip() -> float:
    """Nanoseconds for a cache line between two cores and back; 0 where there is only one."""
    done = subprocess.run([_program("pingpong")], capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else 0.0


def cpu() -> str:
    """What the processor calls itself."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.*)", info.read_text()) if info.exists() else None
    return found.group(1).strip() if found else platform.processor() or platform.machine()
