"""Lay the import package `bireme` out as one folder of symbolic links.

The tree keeps its rooms (`ir/`, `passes/`, ...) at the top level, and an installed Bireme has them
under one package. Tools that read files instead of importing modules (mypy, pyright,
import-linter, editors) need to see the installed shape: `build/typing/bireme/ir` -> `ir/`.
The table that says what goes where is scikit-build-core's `wheel.packages` in pyproject.toml.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VIEW = ROOT / "build" / "typing"


def packages(pyproject: Path = ROOT / "pyproject.toml") -> dict[str, str]:
    """Return the table `import path -> source folder`, parents before children."""
    table = tomllib.loads(pyproject.read_text())["tool"]["scikit-build"]["wheel"]["packages"]
    return dict(sorted(table.items()))


def links(root: Path, table: dict[str, str]) -> dict[str, Path]:
    """Return the links to make, `path in the view -> path in the tree`.

    A package that contains another one becomes a real folder, with a link for each of its entries;
    every other package is one link. Raises ValueError when two sources claim one place.
    """
    result: dict[str, Path] = {}
    for target, source in table.items():
        folder = root / source
        parent = any(other.startswith(f"{target}/") for other in table)
        entries = [e for e in sorted(folder.iterdir()) if e.name != "__pycache__"] if parent else []
        wanted = {f"{target}/{e.name}": e for e in entries} if parent else {target: folder}
        if clash := wanted.keys() & result.keys():
            raise ValueError(f"two sources install as {', '.join(sorted(clash))}")
        result |= wanted
    return result


def make_view(root: Path = ROOT, view: Path = VIEW) -> None:
    """Bring the view up to date; a view that is current is not touched."""
    wanted = links(root, packages(root / "pyproject.toml"))
    for old in view.rglob("*"):
        if old.is_symlink() and wanted.get(str(old.relative_to(view))) != old.readlink():
            old.unlink()
    for target, source in wanted.items():
        link = view / target
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(source)


if __name__ == "__main__":
    make_view()
