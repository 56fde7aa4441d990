"""Links between pages lead somewhere, and pages that the code names exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tools.package_view import ROOT

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def tracked(*patterns: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [ROOT / name for name in listing.splitlines()]


def anchor(heading: str) -> str:
    """How Markdown renderers name a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def missing_links(page: Path) -> list[str]:
    return [link for link in _LINK.findall(_FENCED.sub("", page.read_text())) if misses(page, link)]


def misses(page: Path, link: str) -> bool:
    name, _, fragment = link.partition("#")
    target = page.parent / name if name else page
    if not target.exists():
        return True
    headings = _HEADING.findall(target.read_text()) if fragment else []
    return bool(fragment) and fragment not in map(anchor, headings)


@pytest.mark.parametrize("page", tracked("*.md"), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert missing_links(page) == []


def test_pages_named_in_the_code_exist() -> None:
    named = {
        name
        for path in tracked("*.py", "*.cc", "*.h", "*.def", "*.fbs")
        if not path.is_relative_to(ROOT / "tests")
        for name in re.findall(r"\bdocs/[\w-]+\.md\b", path.read_text())
    }
    assert "docs/ops.md" in named
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_a_missing_page_and_a_missing_heading_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# One two\n[x](b.md) [y](#one-two) [z](#three) [w](a.md)\n")
    assert missing_links(tmp_path / "a.md") == ["b.md", "#three"]
