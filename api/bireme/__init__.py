"""Bireme: compile a model to one file, load it, run it.

    import bireme as bm

    program = bm.compile("model.onnx")
    outputs = program({"x": x})
    program.save("model.bireme")
"""

from __future__ import annotations

from bireme._program import Program, compile, load
from bireme.ir.errors import BiremeError

__all__ = ["BiremeError", "Program", "compile", "load"]
