"""How the time of a step grows with the batch and with the depth, by `tg.jit`: for three of the training rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import tinygrad_edu as tg

from ..harness import Candidate, Settings, Table, agree, interleaved, medians
from ..network import Network, dense_network
from ..peers.ours import Eager, JitNumPy
from . import gpt, resnet

ROWS = {"wide": (4, 4), "resnet": (1, 3), "gpt": (1, 4)}
"""The first batch; and how deep the row's network is, in linear layers, blocks of each of three widths, blocks."""
DOUBLINGS = {"batch": 6, "depth": 4}
"""The depth starts with 1, at a batch that has been doubled twice."""


def network(name: str, batch: int, depth: int) -> Network:
    if name == "wide":
        return dense_network((1024,) * (depth + 1), batch, "squares")
    row = {"resnet": resnet, "gpt": gpt}[name]
    return dataclasses.replace(row.NETWORK, batch=batch, layers=lambda x: row.layers(x, depth))


def run(settings: Settings) -> Table:
    table = Table(
        "scaling",
        "Milliseconds of a training step by tg.jit as the batch or the depth doubles, and how many times that of the "
        "line before: 2 for what grows linearly, less where some cost is fixed.",
        ["what", "size", "ms", "times the one before"],
    )
    for name, (batch, depth) in list(ROWS.items())[: 1 if settings.quick else None]:
        for what, doublings in DOUBLINGS.items():
            sizes = [2**i for i in range(2 if settings.quick else doublings + 1)]
            if what == "batch":
                found = {batch * size: network(name, batch * size, depth) for size in sizes}
            else:
                found = {size: network(name, 4 * batch, size) for size in sizes}
            add(table, settings, f"{name}, {what}", found)
    return table


def add(table: Table, settings: Settings, what: str, networks: Mapping[int, Network]) -> None:
    """Measures networks, of which each is twice the one before, and adds their lines."""
    candidates = {}
    with tg.use_device(settings.device):
        for size, network in networks.items():
            small = network.quick() if settings.quick else network
            peer = JitNumPy(small)
            agree(f"the first loss of {what} {size}", peer.value(peer.step()), peer.value(Eager(small).step()))
            candidates[str(size)] = Candidate(peer.step)
        times = interleaved(settings, candidates, rounds=2 if settings.quick else 15, seconds=30.0)
    table.raw |= {f"{what} {size}": seconds for size, seconds in times.items()}
    before = math.nan
    for size, seconds in medians(times).items():
        table.lines.append([what, int(size), seconds * 1e3, None if math.isnan(before) else seconds / before])
        before = seconds
