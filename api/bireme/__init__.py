"""Bireme: compile a model to one file, load it, run it.

    import bireme as bm

    program = bm.compile("model.onnx")
    outputs = program({"x": x})
    program.save("model.bireme")

Names are loaded when they are first used: whoever only loads and runs artefacts pays for neither
MLIR nor TVM.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bireme import nn, zoo
    from bireme._check import check
    from bireme._compare import compare
    from bireme._profile import Profile, profile
    from bireme._program import Program, compile, load
    from bireme._tune import tune
    from bireme.ir.errors import BiremeError

__all__ = [
    "BiremeError", "Profile", "Program", "check", "compare", "compile", "load", "nn", "profile",
    "tune", "zoo",
]  # fmt: skip

_HOMES = {
    "BiremeError": "bireme.ir.errors",
    "Program": "bireme._program",
    "check": "bireme._check",
    "compare": "bireme._compare",
    "compile": "bireme._program",
    "load": "bireme._program",
    "Profile": "bireme._profile",
    "profile": "bireme._profile",
    "tune": "bireme._tune",
}
_MODULES = ("nn", "zoo")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"bireme.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'bireme' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
