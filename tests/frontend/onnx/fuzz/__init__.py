"""Fuzzing of the importer: seeds, mutation of models as structures, and what must hold.

`python -m tests.frontend.onnx.fuzz` runs it; see `__main__.py`.
"""
