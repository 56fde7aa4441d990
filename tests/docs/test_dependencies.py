"""Versions are pinned once, locked with hashes, and every direct dependency has its reason."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from tools.package_view import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME: list[str] = PROJECT["project"]["dependencies"]
GROUPS: dict[str, list[Any]] = PROJECT["dependency-groups"]
FUZZ: list[str] = GROUPS["fuzz"]
DEV = [
    line
    for name, lines in GROUPS.items()
    for line in lines
    if isinstance(line, str) and name != "fuzz"
]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lines: list[str]) -> dict[str, str]:
    found = [re.match(r"([A-Za-z0-9_.-]+)==([^ ;\\]+)", line) for line in lines]
    return {normal(m[1]): m[2] for m in found if m}


def lock(name: str) -> list[str]:
    return (ROOT / "requirements" / name).read_text().splitlines()


@pytest.mark.parametrize("lines", [RUNTIME, DEV, FUZZ, PROJECT["build-system"]["requires"]])
def test_direct_dependencies_are_pinned_exactly(lines: list[str]) -> None:
    assert len(pins(lines)) == len(lines)


@pytest.mark.parametrize(
    ("lines", "name"),
    [(RUNTIME, "runtime.txt"), (RUNTIME + DEV, "dev.txt"), (FUZZ, "fuzz.txt")],
)
def test_the_lock_agrees_with_the_project(lines: list[str], name: str) -> None:
    locked = pins(lock(name))
    assert {k: v for k, v in pins(lines).items() if locked.get(k) != v} == {}


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt", "fuzz.txt"])
def test_the_lock_holds_only_pins_and_hashes(name: str) -> None:
    """No index, no path: the lock works wherever pip is set up."""
    line = re.compile(r"[a-z0-9-]+==[^ ]+ \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [text for text in lock(name) if not line.fullmatch(text)] == []


def test_the_two_locks_agree() -> None:
    runtime, dev = pins(lock("runtime.txt")), pins(lock("dev.txt"))
    assert {k: v for k, v in runtime.items() if dev.get(k) != v} == {}


def test_build_requirements_agree_with_the_lock() -> None:
    dev = pins(lock("dev.txt"))
    wanted = pins(PROJECT["build-system"]["requires"])
    assert {k: v for k, v in wanted.items() if dev.get(k) != v} == {}


def test_every_direct_dependency_has_its_reason() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text()
    listed = {normal(n) for n in re.findall(r"`([A-Za-z0-9_.-]+)`", page)}
    assert set(pins(RUNTIME + DEV + FUZZ)) - listed == set()


def test_torch_is_not_locked() -> None:
    assert "torch" not in pins(lock("dev.txt"))
