"""The only door to MLIR's Python bindings (wheel `torch-mlir`, pinned exactly).

Everything else in the project speaks `bireme.ir`. When the official `mlir` wheel appears, only this
file changes.
"""

from torch_mlir import ir
from torch_mlir._mlir_libs import _mlir as _core
from torch_mlir.dialects import func

# Each lookup of an op's Python class tries to import `<prefix>.<dialect>` and, when there is none,
# fails again on every op (20 µs each). The prefix holds an empty module that ends the search.
_core.globals.append_dialect_search_prefix("bireme.ir.dialects")

MLIRError = ir.MLIRError

__all__ = ["MLIRError", "func", "ir"]
