"""A compile worker: `python -m bireme.codegen.worker`.

Kernels are compiled in processes of their own: LLVM then uses every core, and a crash in it costs one
kernel, not the host. Requests and answers are pickles on standard input and output, each with its length
in front (`bireme.codegen.wire`); `bireme.codegen.build` is the other end.
"""

from __future__ import annotations

import os
import sys

from bireme.codegen.spec import KernelSpec
from bireme.codegen.wire import receive, send
from bireme.ir import BiremeError
from bireme.targets.registry import find


def main() -> None:
    """Serves requests `(target, level number, text, weights, symbols)` until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever LLVM prints must not mix with the answers
    while (request := receive(sys.stdin.buffer)) is not None:
        target_name, level, text, weights, symbols = request  # type: ignore[misc]
        try:
            target = find(target_name)
            spec = KernelSpec(text, weights, symbols)
            answer: object = target.compiler()(spec, target.description.levels[level])
        except BiremeError as error:
            answer = (error.code, error.detail, error.where, error.hint)
        except Exception as error:
            answer = ("BM3005", f"{type(error).__name__}: {error}"[-2000:], "", "")
        send(answers, answer)


if __name__ == "__main__":
    main()
