"""docs/nn.md names everything public, and nothing else public exists."""

from __future__ import annotations

import re

import pytest

import bireme.nn
from bireme.frontend import nn
from tools.package_view import ROOT

PAGE = (ROOT / "docs" / "nn.md").read_text()
MENTIONED = set(re.findall(r"`(?:nn\.|F\.)?(\w+)", PAGE)) | set(re.findall(r"nn\.(\w+)", PAGE))


@pytest.mark.parametrize("names", [nn.__all__, nn.functional.__all__], ids=["nn", "functional"])
def test_every_public_name_is_documented(names: list[str]) -> None:
    assert sorted(set(names) - MENTIONED) == []


def test_the_public_module_is_the_frontends() -> None:
    assert bireme.nn.__all__ == nn.__all__
    assert all(getattr(bireme.nn, name) is getattr(nn, name) for name in nn.__all__)


def test_every_public_name_exists_and_has_a_docstring() -> None:
    for module in (nn, nn.functional):
        for name in module.__all__:
            assert getattr(module, name).__doc__, name
