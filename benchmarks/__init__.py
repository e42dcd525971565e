"""Benchmarks: `python -m benchmarks --help`. Each file in `rows` is one; `harness` is what those of the core share,
`training` runs those that stand beside peers."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Which OpenMP and BLAS read when they are loaded."""
