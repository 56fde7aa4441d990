"""The node tests of `onnx.backend.test`, run through Bireme and counted by operator."""
