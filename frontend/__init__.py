"""Ways in: the `bireme.nn` DSL and the ONNX importer."""
