"""The tuner: tries parameters of a model's kernels on a device and keeps the best."""
