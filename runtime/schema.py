"""The plan's FlatBuffers classes, generated from ``runtime/schema/model.fbs`` by the build.

Compilers write a plan with the object classes (``PlanT``, ``TensorT``, ...)::

    builder = flatbuffers.Builder()
    builder.Finish(plan.Pack(builder))

docs/artefact.md gives the meaning of every field and the container around the plan.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the generated module exists only where the package is installed

    def __getattr__(name: str) -> Any: ...

else:
    from bireme.runtime._schema.model_generated import *  # noqa: F403
