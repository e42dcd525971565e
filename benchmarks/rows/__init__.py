"""One file per benchmark, which is found by its name: with a `NETWORK` that is trained beside the peers, or, for the
core, with a function `run(settings)` that returns a `harness.Table`."""
