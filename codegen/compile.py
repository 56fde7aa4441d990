"""TensorIR → object code for one instruction set."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tvm
from tvm import tirx
from tvm.tirx import transform as tt
from tvm.tirx.stmt import AttrStmt

from bireme.codegen.floats import hide, reveal, reveal_zeros
from bireme.ir import BiremeError
from bireme.targets.description import InstructionSet


def _each(change: Callable[[Any], Any]) -> Any:
    """A pass that changes each function."""
    name = change.__name__
    return tt.prim_func_pass(lambda function, _module, _context: change(function), 0, name=name)


def object_code(function: Any, level: InstructionSet) -> bytes:
    """The ELF object of a kernel function. Raises BM3005 with the kernel's name."""
    target = tvm.target.Target(dict(level.llvm))
    name = str(function.attrs["global_symbol"])
    if level.llvm_ir:
        function = _with_llvm_ir(function, level.llvm_ir)
    function = function.with_attr("target", target).with_attr("calling_conv", 0)
    passes = [
        _each(hide),
        tt.FlattenBuffer(),
        tt.NarrowDataType(32),
        tt.VectorizeLoop(True),
        tt.UnrollLoop(),
        tt.StmtSimplify(),
        tt.RemoveNoOp(),
        tt.LowerTVMBuiltin(),
        _each(reveal),
        tt.LowerIntrin(),
        _each(reveal_zeros),
    ]
    try:
        with tvm.transform.PassContext(opt_level=3), target:
            module = tvm.transform.Sequential(passes)(tvm.IRModule({name: function}))
            built = tvm.get_global_func("target.build.llvm")(module, target)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "kernel.o")
            built.write_to_file(str(path))
            return path.read_bytes()
    except Exception as error:  # TVM raises its own classes for everything
        raise BiremeError("BM3005", str(error)[-2000:], where=name) from error


def _with_llvm_ir(function: Any, text: str) -> Any:
    """A kernel that may call functions defined in LLVM's text; LLVM inlines them."""
    pragma = AttrStmt(
        tirx.const(0, "int32"), "pragma_import_llvm", tvm.ir.StringImm(text), function.body
    )
    made = tirx.PrimFunc(function.params, pragma, function.ret_type)
    for key, value in function.attrs.items():
        made = made.with_attr(key, value)
    return made
