"""Kernels on CUDA: fused loops as CUDA C, matrix products by cuBLASLt, and programs of both as CUDA graphs."""
