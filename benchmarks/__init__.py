"""Benchmarks: `python -m benchmarks --help`. Each file in `rows` is one; `harness` is what they share."""
