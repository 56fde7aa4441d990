"""The one signature of all CPU kernels (docs/artefact.md):

`int32_t kernel(void* const* args, const int64_t* dims, void* workspace, int64_t begin, int64_t
end)`
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import tirx
from tvm.tirx import stmt as ts

from bireme.codegen.tir import Buffer, Emitter, Expr, pointer, storage
from bireme.ir import DType, TensorType

# Bounds of the pointer and size tables as the kernel sees them; no check depends on them.
_TABLE = 1 << 16
_SCRATCH = 1 << 40

# (emitter, argument buffers, workspace, begin, end) → an int32 that is not 0 when an index was out
# of range, or None for a kernel that cannot fail.
Body = Callable[[Emitter, list[Buffer], Buffer, Expr, Expr], "Expr | None"]


def kernel_function(
    name: str, arguments: Sequence[tuple[str, TensorType]], symbols: Sequence[str], body: Body
) -> Any:
    """A PrimFunc with the kernel signature around what `body` emits."""
    table, sizes = pointer("args", "int64"), pointer("dims", "int64")
    scratch = pointer("workspace", "uint8")
    begin, end = tirx.Var("begin", "int64"), tirx.Var("end", "int64")
    table_buffer = tirx.decl_buffer([_TABLE], "int64", name="arg_table")
    size_buffer = tirx.decl_buffer([_TABLE], "int64", name="size_table")
    emitter = Emitter({})
    emitter.add(ts.DeclBuffer(table_buffer, data=table))
    emitter.add(ts.DeclBuffer(size_buffer, data=sizes))
    for i, symbol in enumerate(symbols):
        load = tirx.BufferLoad(size_buffer, [tirx.const(i, "int64")])
        emitter.symbols[symbol] = emitter.bind(load, symbol)
    buffers = []
    for i, (label, tensor) in enumerate(arguments):
        address = tirx.BufferLoad(table_buffer, [tirx.const(i, "int64")])
        buffers.append(_argument(emitter, label, tensor, address))
    workspace = Buffer(tirx.decl_buffer([_SCRATCH], "uint8", name="scratch"), DType.U8)
    emitter.add(ts.DeclBuffer(workspace.tir, data=scratch))
    status = body(emitter, buffers, workspace, begin, end)
    zero = tirx.const(0, "int32")
    if status is not None:
        # LLVM code of TVM returns constants only: 0, or -1 by this intrinsic, which calls nothing.
        with emitter.when(tirx.NE(status, zero)):
            emitter.add(ts.Evaluate(tirx.call_intrin("int32", "tirx.tvm_throw_last_error")))
    emitter.add(ts.Return(zero))
    whole = ts.AttrStmt(zero, "device_id", zero, emitter.finish())
    whole = ts.AttrStmt(zero, "device_type", tirx.const(1, "int32"), whole)
    function = tirx.PrimFunc([table, sizes, scratch, begin, end], whole, tvm.ir.PrimType("int32"))
    return function.with_attr("global_symbol", name).with_attr("tirx.noalias", True)


def _argument(emitter: Emitter, label: str, tensor: TensorType, address: Expr) -> Buffer:
    shape = tuple(emitter.shape(tensor))
    tir = tirx.decl_buffer([_SCRATCH], storage(tensor.dtype), name=label)
    base = pointer(f"{label}_address", storage(tensor.dtype))
    emitter.add(ts.Bind(base, tirx.call_intrin(base.ty, "tirx.reinterpret", address)))
    emitter.add(ts.DeclBuffer(tir, data=base))
    return Buffer(tir, tensor.dtype, shape)


def workspace_view(emitter: Emitter, workspace: Buffer, byte_offset: Expr, dtype: DType) -> Buffer:
    """Elements of `dtype` in the thread's scratch memory, from a multiple of 64 bytes on."""
    tir = tirx.decl_buffer([_SCRATCH], storage(dtype), name=f"scratch_{dtype.label}")
    address = tirx.address_of(tirx.BufferLoad(workspace.tir, [byte_offset]))
    base = pointer("scratch_address", storage(dtype))
    emitter.add(ts.Bind(base, tirx.call_intrin(base.ty, "tirx.reinterpret", address)))
    emitter.add(ts.DeclBuffer(tir, data=base))
    return Buffer(tir, dtype)
