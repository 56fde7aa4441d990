"""ONNX importer; the only place that opens the `onnx` package."""
