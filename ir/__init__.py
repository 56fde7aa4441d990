"""Graph bank: the `bireme` MLIR dialect, its builder, text form, verifier and reference."""
