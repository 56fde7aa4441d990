"""The plan's FlatBuffers classes, generated from ``runtime/schema/model.fbs`` when the package is built.

Compilers write a plan with the object classes (``PlanT``, ``TensorT``, ...)::

    builder = flatbuffers.Builder()
    builder.Finish(plan.Pack(builder))

docs/artefact.md gives the meaning of every field and the container around the plan.
"""

from bireme.runtime._schema.model_generated import *  # noqa: F403
