"""A compile worker: `python -m bireme.codegen.worker`.

Kernels are compiled in processes of their own: LLVM then uses every core, and a crash in it costs
one kernel, not the host. Requests and answers are pickles on standard input and output, each with
its length in front (`bireme.codegen.wire`); `bireme.codegen.build` is the other end.
"""

from __future__ import annotations

import os
import sys

from bireme.codegen.build import attempt
from bireme.codegen.cache import CompiledKernel
from bireme.codegen.wire import Refusal, Request, receive, send
from bireme.ir import BiremeError
from bireme.targets.registry import find


def main() -> None:
    """Serves requests until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever LLVM prints must not mix with the answers
    while isinstance(request := receive(sys.stdin.buffer), Request):
        send(answers, _serve(request))


def _serve(request: Request) -> CompiledKernel | Refusal:
    target = find(request.target)
    level = target.description.level(request.level)
    kernel: CompiledKernel | BiremeError = attempt(
        target.compiler(), request.spec, level, request.choice
    )
    if isinstance(kernel, BiremeError):
        return Refusal(kernel.code, kernel.detail, kernel.where, kernel.hint)
    return kernel


if __name__ == "__main__":
    main()
