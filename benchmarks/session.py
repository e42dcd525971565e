"""Processes of frameworks that take turns, and the matrix product that tells whether the machine is quiet."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import THREAD_VARIABLES
from .peers import ENTRIES

REST = 0.15
"""Seconds of rest before each turn: after their work, OpenBLAS's threads spin for some 100 ms before they sleep, and
would take the cores from the next framework."""


class Failure(Exception):
    """Why a framework cannot take part or go on, in words for the table. `absent`: it is missing or too slow, which is
    no fault."""

    def __init__(self, reason: str, absent: bool = False):
        super().__init__(reason)
        self.absent = absent


class Worker:
    """A process that answers requests. Each has `limit` seconds; one that fails, crashes or takes longer raises
    Failure, and the process is gone."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], limit: float):
        self.limit = limit
        self.late = False
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 -- `close` closes it
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=dict(environment),
            cwd=Path(__file__).parents[1],
            text=True,
            start_new_session=True,  # a group of its own, so that `_kill` ends compilers that it has started as well
        )

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        alarm = threading.Timer(self.limit, self._too_late)
        alarm.start()
        try:
            self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            alarm.cancel()
        answer: dict[str, Any] = json.loads(line) if line else {"error": self._why_silent(what), "absent": self.late}
        if "error" in answer:
            self.close()
            raise Failure(answer["error"], answer.get("absent", False))
        return answer

    def _why_silent(self, what: str) -> str:
        if self.late:
            return f"no answer to '{what}' within {self.limit:g} s"
        status = self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace").strip().splitlines()
        return f"crashed in '{what}' with status {status}" + (f": {said[-1]}" if said else "")

    def _too_late(self) -> None:
        self.late = True
        self._kill()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it is gone already
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        if not self.errors.closed:
            self._kill()
            self.process.communicate()
            self.errors.close()


class Session:
    """What all rows of one run share: settings for workers, and how long the calibration took each time.

    Args:
        threads: of every framework.
        limit: seconds that a worker has for an answer.
        quick: small networks and matrices.
        device: of the networks.
        precision: of matrix products on CUDA.
    """

    def __init__(self, threads: int, limit: float, quick: bool, device: str = "cpu", precision: str = "float32"):
        self.threads, self.limit, self.quick, self.device, self.precision = threads, limit, quick, device, precision
        self.turn, self.pause = (0.005, 0.0) if quick else (0.06, REST)
        size = 128 if quick else 1024
        random = np.random.default_rng(0)
        self._a, self._b = (random.standard_normal((size, size), dtype=np.float32) for _ in range(2))
        self._product = np.empty((size, size), np.float32)
        self.best = float("inf")
        for _ in range(20):
            self.calibrate()

    def calibrate(self) -> float:
        """The seconds of a few matrix products: more than usual when the machine is busy with something else."""
        self.rest()
        np.matmul(self._a, self._b, out=self._product)  # wakes the threads
        start = time.perf_counter()
        for _ in range(3):
            np.matmul(self._a, self._b, out=self._product)
        seconds = time.perf_counter() - start
        self.best = min(seconds, self.best)
        return seconds

    def rest(self) -> None:
        time.sleep(self.pause)

    def worker(self, name: str, row: str, caches: str) -> Worker:
        """Starts the framework of that name, its disk caches in the folder `caches`."""
        what = [name, row, str(self.threads), self.device, self.precision]
        command = [sys.executable, "-m", f"{__package__}.worker", *what]
        environment = {**os.environ, **thread_settings(self.threads), **cache_settings(caches)}
        environment |= {"JAX_PLATFORMS": "cpu"} if self.device == "cpu" else {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        environment |= ENTRIES[name].environment
        return Worker([*command, "--quick"] if self.quick else command, environment, self.limit)


def thread_settings(threads: int) -> dict[str, str]:
    """Environment variables for BLAS, OpenMP, ours, tinygrad and XLA. A worker binds itself to as many cores, too."""
    names = (*THREAD_VARIABLES, "TINYGRAD_EDU_THREADS", "NUM_CPU_THREADS", "NPROC")
    eigen = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
    return {**dict.fromkeys(names, str(threads)), "XLA_FLAGS": eigen}


def cache_settings(folder: str) -> dict[str, str]:
    """Environment variables that put what frameworks keep on disk into a folder, JAX's small programs included."""
    names = ("TINYGRAD_EDU_CACHE", "TORCHINDUCTOR_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME")
    all_of_jax = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
    return {**{name: str(Path(folder, name)) for name in names}, **all_of_jax}
