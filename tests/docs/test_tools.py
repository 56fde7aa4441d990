"""The scripts of tools/ that set up and check the repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools import lint_text, package_view


def tree(root: Path, *files: str) -> None:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")


def project(root: Path, **packages: str) -> None:
    table = "".join(f'"{target}" = "{source}"\n' for target, source in packages.items())
    (root / "pyproject.toml").write_text(f"[tool.scikit-build.wheel.packages]\n{table}")


def test_view_has_the_installed_shape(tmp_path: Path) -> None:
    tree(tmp_path, "api/top/__init__.py", "ir/types.py")
    project(tmp_path, **{"top": "api/top", "top/ir": "ir"})
    package_view.make_view(tmp_path, tmp_path / "view")
    assert (tmp_path / "view/top/__init__.py").exists()
    assert (tmp_path / "view/top/ir/types.py").exists()


def test_view_follows_the_tree(tmp_path: Path) -> None:
    tree(tmp_path, "api/top/__init__.py", "api/top/old.py", "ir/types.py")
    project(tmp_path, **{"top": "api/top", "top/ir": "ir"})
    package_view.make_view(tmp_path, tmp_path / "view")
    (tmp_path / "api/top/old.py").rename(tmp_path / "api/top/new.py")
    package_view.make_view(tmp_path, tmp_path / "view")
    names = {path.name for path in (tmp_path / "view/top").iterdir()}
    assert names == {"__init__.py", "new.py", "ir"}


def test_view_refuses_two_sources_for_one_place(tmp_path: Path) -> None:
    tree(tmp_path, "api/top/ir/__init__.py", "ir/types.py")
    project(tmp_path, **{"top": "api/top", "top/ir": "ir"})
    with pytest.raises(ValueError, match="top/ir"):
        package_view.make_view(tmp_path, tmp_path / "view")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clean\n", []),
        ("", []),
        ("end \n", [(1, "trailing white space")]),
        ("a\nb", [(2, "no newline at the end of the file")]),
        ("see /wor" + "k/x\n", [(1, "a path of one machine")]),
    ],
)
def test_text_faults(text: str, expected: list[tuple[int, str]]) -> None:
    assert list(lint_text.faults(text)) == expected


def stand_in(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def host_packages(folder: Path, *groups: str) -> subprocess.CompletedProcess[str]:
    """Run the script where only `folder` is on the path, besides bash itself."""
    script = package_view.ROOT / "tools" / "host_packages.sh"
    return subprocess.run(
        ["/bin/bash", str(script), *groups],
        env={"PATH": str(folder), "PYTHON": "python3"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_missing_packages_are_named_where_they_cannot_be_installed(tmp_path: Path) -> None:
    stand_in(tmp_path, "id", "echo 1000")
    stand_in(tmp_path, "cat", "exec /bin/cat")
    done = host_packages(tmp_path, "fuzz")
    assert done.returncode == 2
    assert "sudo apt-get install clang libclang-rt-dev" in done.stderr


def test_missing_packages_are_installed_by_root(tmp_path: Path) -> None:
    stand_in(tmp_path, "id", "echo 0")
    stand_in(tmp_path, "apt-get", f'echo "$*" >> {tmp_path}/log')
    done = host_packages(tmp_path, "fuzz")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0].startswith("update")
    assert lines[1].startswith("install")
    assert lines[1].endswith("clang libclang-rt-dev")


def test_an_unknown_group_is_refused(tmp_path: Path) -> None:
    done = host_packages(tmp_path, "kitchen")
    assert done.returncode == 2
    assert "kitchen" in done.stderr
