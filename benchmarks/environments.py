"""A virtual environment for each engine, made on demand from its pinned requirements."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = Path(__file__).parent / "requirements"
FOLDER = ROOT / "build" / "peers"


class NotInstalled(Exception):
    """An environment is not there, or could not be made; the text says why."""


def _stamp(requirements: Path) -> str:
    return hashlib.sha256(requirements.read_bytes()).hexdigest()


def interpreter(name: str) -> Path:
    """The Python of an environment ("": this one). Raises NotInstalled if it is not up to date."""
    if not name:
        return Path(sys.executable)
    folder = FOLDER / name
    stamp = folder / "stamp"
    current = stamp.exists() and stamp.read_text() == _stamp(REQUIREMENTS / f"{name}.txt")
    if not current:
        raise NotInstalled(f"not installed; python -m benchmarks --install {name} does it")
    return folder / "bin" / "python"


def install(name: str) -> None:
    """Makes an environment, unless it is up to date. Raises NotInstalled with pip's last words.

    pip takes its settings from the user. Where PyTorch's index is at hand, PIP_EXTRA_INDEX_URL can
    name its folder of CPU builds; PyPI's own builds bring CUDA along.
    """
    try:
        interpreter(name)
    except NotInstalled:
        folder, requirements = FOLDER / name, REQUIREMENTS / f"{name}.txt"
        print(f"installing {name} in {folder.relative_to(ROOT)}", flush=True)
        (folder / "stamp").unlink(missing_ok=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = folder / "bin" / "python"
        command = [str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = [line for line in done.stderr.splitlines() if line.startswith("ERROR")][-1:]
            raise NotInstalled(f"pip failed: {' '.join(last)}") from None
        (folder / "stamp").write_text(_stamp(requirements))


def version(python: Path, package: str) -> str:
    """The version of a package in an environment."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
