"""The process that measures: `python -m bireme.codegen.tune.meter`.

It has no compiler in it, keeps to the cores that it is given, answers one request from its standard
input and ends. `bireme.codegen.tune.runner` is the other end; messages are those of
`bireme.codegen.wire`.
"""

from __future__ import annotations

import os
import sys

from bireme.codegen.tune.measure import Measure, measure
from bireme.codegen.wire import Refusal, receive, send
from bireme.runtime import RuntimeFault


def main() -> None:
    """Answers one request."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    request = receive(sys.stdin.buffer)
    if not isinstance(request, Measure):
        return
    os.sched_setaffinity(0, request.cores)
    try:
        send(answers, measure(request))
    except RuntimeFault as fault:
        send(answers, Refusal(fault.code, fault.message, fault.node or fault.op, fault.hint))


if __name__ == "__main__":
    main()
