"""The code blocks of the README and of docs/ run.

The blocks of a page run in order in one empty folder that holds `model.onnx`, a text-direction
classifier with input `x: float32[batch, 3, height, width]`. Every block is a program of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tools.code_blocks import Block, code_blocks
from tools.package_view import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NATIVE = ROOT / "build" / "native"


class BlockError(Exception):
    """A block could not be compiled, or ended with a status other than 0; holds what it printed."""


def run(command: list[str], folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        raise BlockError(f"{done.stdout}\n{done.stderr}")


def run_python(text: str, folder: Path) -> None:
    (folder / "block.py").write_text(text)
    run([sys.executable, "block.py"], folder)


def run_shell(text: str, folder: Path) -> None:
    run(["bash", "-euo", "pipefail", "-c", text], folder)


def compile_and_run(compiler: list[str], suffix: str, text: str, folder: Path) -> None:
    """Run a program; a fragment without `main` is only compiled, after `bireme.h`."""
    source, program = folder / f"block{suffix}", folder / "block"
    source.write_text(text)
    command = [*compiler, "-Wall", "-Werror", f"-I{ROOT / 'runtime' / 'include'}", str(source)]
    if "int main(" not in text:
        run([*command, "-include", "bireme/bireme.h", "-fsyntax-only"], folder)
        return
    libraries = sorted(NATIVE.rglob("libbireme.a"))
    assert libraries, "the runtime is not built: make native-test"
    link = [str(libraries[0]), "-lstdc++", "-pthread", "-ldl", "-lm"]
    run([*command, *link, "-o", str(program)], folder)
    run([str(program)], folder)


RUNNERS: dict[str, Callable[[str, Path], None]] = {
    "bash": run_shell,
    "c": lambda text, folder: compile_and_run(["cc", "-std=c11"], ".c", text, folder),
    "cpp": lambda text, folder: compile_and_run(["c++", "-std=c++17"], ".cc", text, folder),
    "python": run_python,
}
# Shown, not run: text forms and pictures.
QUIET = {"", "mermaid", "mlir", "text"}


def runnable(page: Path) -> list[Block]:
    blocks = code_blocks(page.read_text())
    return [b for b in blocks if b.language not in QUIET and not b.not_run]


@pytest.mark.parametrize("page", [p for p in PAGES if runnable(p)], ids=lambda page: page.name)
def test_code_blocks_run(page: Path, tmp_path: Path) -> None:
    carrier = find_spec("rapidocr_onnxruntime")
    assert carrier is not None
    assert carrier.origin is not None
    models = Path(carrier.origin).parent / "models"
    shutil.copy(next(models.glob("*cls*.onnx")), tmp_path / "model.onnx")
    for block in runnable(page):
        try:
            RUNNERS[block.language](block.text, tmp_path)
        except BlockError as error:
            fault = f"{page.name}:{block.line}: {error}"
            break
    else:
        return
    pytest.fail(fault, pytrace=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_language_is_known(page: Path) -> None:
    known = RUNNERS.keys() | QUIET
    unknown = [b for b in code_blocks(page.read_text()) if b.language not in known]
    assert unknown == []


def test_blocks_are_found_with_line_language_and_reason() -> None:
    page = "a\n```python\nx = 1\n```\n\n<!-- not run: slow -->\n```bash\nmake\n```\n"
    assert list(code_blocks(page)) == [
        Block(3, "python", "x = 1\n", ""),
        Block(8, "bash", "make\n", "slow"),
    ]


def test_a_block_that_fails_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(BlockError, match="ZeroDivisionError"):
        run_python("1 / 0", tmp_path)
