"""What an installation holds."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from tools.package_view import ROOT, packages

# An editable install of the same package must not answer for the wheel.
LOAD = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
import bireme.runtime
print(bireme.runtime.__file__, bireme.runtime.pool_threads())
"""


def build_wheel(folder: Path) -> Path:
    options = ["--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], check=True)
    return next(folder.glob("*.whl"))


def installed_names() -> set[str]:
    """Where every tracked Python file of the packages should be in a wheel."""
    listing = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    return {
        target + name.removeprefix(source)
        for name in listing
        for target, source in packages().items()
        if name.startswith(f"{source}/")
    }


def test_wheel(tmp_path: Path) -> None:
    """It holds every Python file, nothing that only a build needs, and its runtime loads.

    One test, because two builds at the same time would share a build folder.
    """
    wheel = zipfile.ZipFile(build_wheel(tmp_path))
    names = set(wheel.namelist())
    assert installed_names() - names == set()
    assert {Path(n).suffix for n in names} & {".cc", ".h", ".fbs", ".def", ".cmake"} == set()

    wheel.extractall(tmp_path / "installed")
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env={"PYTHONPATH": str(tmp_path / "installed")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "installed"))
