"""One file per benchmark, with a function `run(settings)` that returns a `harness.Table`. A new file is found by its
name."""
