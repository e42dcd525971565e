"""One framework in a process of its own: `python -m benchmarks.worker NAME ROW THREADS DEVICE PRECISION`. It answers
requests, a JSON object a line, on its standard input and output; `session.Worker` is the other end.

The first thing it does is import the framework, so that the time of the import is that of a fresh interpreter.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from .network import network_of
from .peers import ENTRIES, Absent, Entry

WARM_UP = 3
SENT = 9
OUTPUTS = 100
ABSENT = (Absent, ModuleNotFoundError)


class Answers:
    """What a worker can be asked: a method per request."""

    def __init__(self, entry: Entry, row: str, quick: bool, device: str, precision: str):
        start = time.perf_counter()
        module = importlib.import_module(entry.module)
        self.hello = {"import": time.perf_counter() - start, "version": getattr(module, "__version__", "")}
        self.kind = getattr(importlib.import_module(f"{__package__}.peers.{entry.file}"), entry.kind)
        self.kind.use(device, precision)
        network = network_of(importlib.import_module(f"{__package__}.rows.{row}"), device)
        self.network = network.quick() if quick else network
        self.data = self.network.rows()
        self.hello["phases"] = [phase for phase in self.network.phases if phase in self.kind.phases]

    def build(self) -> dict[str, Any]:
        """Builds the network."""
        self.peer = self.kind(self.network)
        return {"threads": self.peer.threads()}

    def first(self) -> dict[str, Any]:
        """Builds the network and takes the first step; the seconds of both, and the loss."""
        start = time.perf_counter()
        built = self.build()
        loss = self._loss(0)
        return {"seconds": time.perf_counter() - start, "loss": loss, **built}

    def losses(self, start: int, stop: int) -> dict[str, Any]:
        """The losses of the steps of these numbers, of which 0 is the first."""
        return {"losses": [self._loss(number) for number in range(start, stop)]}

    def _loss(self, number: int) -> float:
        if not self.network.through_fit:
            return self.peer.value(self.peer.step())
        rows = slice(number * self.network.batch, (number + 1) * self.network.batch)
        return self.peer.fit(*(a[rows] for a in self.data), epochs=1)

    def outputs(self) -> dict[str, Any]:
        """Some of the outputs for the first batch, by first weights."""
        found = self.kind(self.network).predict().astype(float).ravel()
        return {"outputs": found[:: max(1, len(found) // OUTPUTS)].tolist()}

    def tune(self, phase: str, seconds: float) -> dict[str, Any]:
        """How often to repeat a phase for it to take about `seconds`. Warms it up: what compiles does so in the first
        calls, and TinyJit in the third."""
        for _ in range(WARM_UP):
            self._repeat(phase, 1)
        times = 1
        while True:
            start = time.perf_counter()
            self._repeat(phase, times)
            elapsed = time.perf_counter() - start
            if elapsed >= seconds / 4 or times >= 10**6:
                return {"times": max(1, round(times * seconds / elapsed))}
            times *= 2

    def run(self, phase: str, times: int) -> dict[str, Any]:
        """The seconds that a phase takes `times` times, of the wall clock and of all cores together."""
        self._repeat(phase, times // 10)  # wakes threads and fills caches that other processes have had
        start, busy = time.perf_counter(), time.process_time()
        self._repeat(phase, times)
        return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - busy}

    def sent(self) -> dict[str, Any]:
        """The seconds that the host needs to send a step to the device, the median of some, and what that is sent."""
        times = []
        for _ in range(SENT):
            start = time.perf_counter()
            loss = self.peer.step()
            times.append(time.perf_counter() - start)
            self.peer.wait(loss)
        try:
            launches = self.peer.launches()
        except Exception:  # of a profiler or driver; nothing else depends on it
            launches = None
        return {"seconds": statistics.median(times), "launches": launches}

    def _repeat(self, phase: str, times: int) -> None:
        if times == 0:
            return
        if phase == "fit":
            self.peer.fit(*self.data, epochs=times)
        else:
            self.peer.repeat(phase, times)

    def resident(self) -> dict[str, Any]:
        """The resident memory of this process in bytes; None where the system has no /proc."""
        try:
            lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        except OSError:
            return {"bytes": None}
        return {"bytes": next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))}

    def peak(self) -> dict[str, Any]:
        """The most bytes that tensors hold at one time in a step."""
        return {"bytes": self.kind.peak_bytes(self.network)}


def reason(error: Exception) -> str:
    """In one line, for the table."""
    lines = str(error).splitlines() or [""]
    return lines[0] if isinstance(error, ABSENT) else f"{type(error).__name__}: {lines[0]}"


def main() -> None:
    answers_to = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a framework prints must not mix with the answers

    def answer(content: dict[str, Any]) -> None:
        answers_to.write(json.dumps(content) + "\n")
        answers_to.flush()

    name, row, threads, device, precision, *flags = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):  # holds back also a framework that no setting does
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    found: Answers | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if found is None:
                found = Answers(ENTRIES[name], row, "--quick" in flags, device, precision)
            what = request.pop("do")
            answer(found.hello if what == "hello" else getattr(found, what)(**request))
        except Exception as error:  # a framework may fail in any way; the session names it and goes on
            answer({"error": reason(error), "absent": isinstance(error, ABSENT)})


if __name__ == "__main__":
    main()
