"""Loop bank: fused groups become TensorIR, TensorIR becomes kernels, kernels become an artefact."""
