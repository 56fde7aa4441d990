"""The graph bank: the `bireme` dialect, its op table, builder, verifier, text form and NumPy
reference.
"""

from bireme.ir.builder import Builder
from bireme.ir.dims import Dim, DimExpr, ceildiv, evaluate, maximum, minimum, parse, product, symbol
from bireme.ir.dtypes import DType
from bireme.ir.errors import ERRORS, BiremeError, together
from bireme.ir.graph import Graph, SymbolRange
from bireme.ir.opdef import Array, Fusion, OpDef
from bireme.ir.ops import OPS
from bireme.ir.types import TensorType
from bireme.ir.views import Block, Op, Value

__all__ = [
    "ERRORS",
    "OPS",
    "Array",
    "BiremeError",
    "Block",
    "Builder",
    "DType",
    "Dim",
    "DimExpr",
    "Fusion",
    "Graph",
    "Op",
    "OpDef",
    "SymbolRange",
    "TensorType",
    "Value",
    "ceildiv",
    "evaluate",
    "maximum",
    "minimum",
    "parse",
    "product",
    "symbol",
    "together",
]
