"""Search prefix for MLIR's op-class lookup; see `bireme.ir._mlir`."""
