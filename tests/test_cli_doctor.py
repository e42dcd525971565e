"""`tinygrad-edu doctor`: one set-up after the other that does not work, and what it says to do."""

import ctypes
import sys

import pytest

from tinygrad_edu.cli import doctor, main

DRIVER_13, DRIVER_12 = 13000, 12080


@pytest.fixture
def healthy(monkeypatch):
    """A machine where all is well; a test breaks one thing."""
    monkeypatch.setattr(doctor, "driver_version", lambda: DRIVER_13)
    monkeypatch.setattr(doctor, "installed", lambda: {"cupy-cuda13x": "14.2.0"})
    for name in ("import cupy", "libraries", "devices", "a kernel", "a product", "memory"):
        monkeypatch.setitem(doctor.CHECKS, name, lambda: "well")
    return monkeypatch


def run(capsys):
    status = main(["doctor"])
    return status, capsys.readouterr().out


def test_all_is_well(healthy, capsys):
    status, out = run(capsys)
    assert status == 0
    assert "FAILS" not in out
    assert "driver: runs CUDA up to 13.0" in out
    assert "CuPy's wheel: cupy-cuda13x 14.2.0" in out
    assert "CUDA works" in out


# What is installed, the driver's CUDA; what is said, the command that mends it.
WHEELS = [
    ({}, DRIVER_13, "none is installed", "pip install 'tinygrad-edu[cuda13]'"),
    ({}, DRIVER_12, "none is installed", "pip install 'tinygrad-edu[cuda12]'"),
    (
        {"cupy-cuda12x": "14.2.0", "cupy-cuda13x": "14.2.0"},
        DRIVER_13,
        "cupy-cuda12x 14.2.0, cupy-cuda13x 14.2.0: only one may be",
        "pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install 'tinygrad-edu[cuda13]'",
    ),
    (
        {"cupy-cuda13x": "14.2.0"},
        DRIVER_12,
        "needs a driver that runs CUDA 13",
        "pip uninstall -y cupy-cuda13x && pip install 'tinygrad-edu[cuda12]'",
    ),
    (
        {"cupy-cuda12x": "13.6.0"},
        DRIVER_12,
        "cupy-cuda12x 13.6.0; 14.2 or newer is needed",
        "pip uninstall -y cupy-cuda12x && pip install 'tinygrad-edu[cuda12]'",
    ),
    ({"cupy-cuda11x": "14.2.0"}, DRIVER_12, "14.2 or newer", "pip uninstall -y cupy-cuda11x && "),
]


@pytest.mark.parametrize(("wheels", "driver", "text", "mend"), WHEELS)
def test_the_wheel(healthy, capsys, wheels, driver, text, mend):
    healthy.setattr(doctor, "driver_version", lambda: driver)
    healthy.setattr(doctor, "installed", lambda: wheels)
    status, out = run(capsys)
    assert status == 1
    assert text in out
    assert f"To mend it:\n\n    {mend}" in out
    assert "import cupy" not in out  # what needs it is not looked at


def test_a_wheel_for_an_older_cuda_runs_on_a_newer_driver(healthy, capsys):
    healthy.setattr(doctor, "installed", lambda: {"cupy-cuda12x": "14.3.1"})
    assert run(capsys)[0] == 0


class Driver:
    """libcuda, of which each call returns that status."""

    def __init__(self, status, version=DRIVER_13):
        self.status, self.version = status, version

    def cuInit(self, flags):
        return self.status

    def cuDriverGetVersion(self, where):
        where._obj.value = self.version
        return 0


DRIVERS = [
    (None, "no driver of NVIDIA is installed", "sudo apt install nvidia-driver-580"),
    (Driver(100), "it sees no GPU", "nvidia-smi"),
    (Driver(803), "it does not start (CUDA error 803)", "nvidia-smi"),
    (Driver(0, 11040), "runs CUDA up to 11.4; CuPy 14 needs 12.0", "sudo apt install nvidia-driver-580"),
]


@pytest.mark.parametrize(("library", "text", "mend"), DRIVERS)
def test_the_driver(monkeypatch, capsys, library, text, mend):
    def load(name):
        assert name == doctor.DRIVER
        if library is None:
            raise OSError("not found")
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)
    status, out = run(capsys)
    assert status == 1
    assert text in out
    assert mend in out


def test_libraries_that_are_not_there(healthy, capsys):
    from tinygrad_edu.kernels.cuda import blas

    healthy.setitem(doctor.CHECKS, "libraries", doctor.libraries)
    healthy.setattr(blas, "loaded", lambda name: None if name == "cublasLt" else name)
    status, out = run(capsys)
    assert status == 1
    assert "libcublasLt not found" in out
    assert "pip install 'cupy-cuda13x[ctk]'" in out


def test_an_error_of_cupy_is_told(healthy, capsys):
    def fail():
        raise RuntimeError("cudaErrorUnknown: unknown error")

    healthy.setitem(doctor.CHECKS, "a kernel", fail)
    status, out = run(capsys)
    assert status == 1
    assert "a kernel: RuntimeError: cudaErrorUnknown: unknown error" in out


@pytest.mark.gpu
def test_what_is_looked_at_on_a_device(monkeypatch, capsys):
    if "emugpu" in sys.modules:  # which has no driver, and no wheel needs one
        monkeypatch.setattr(doctor, "driver_version", lambda: DRIVER_13)
    status, out = run(capsys)
    assert status == 0, out
    assert "compiled and run" in out
    assert "2x2, by cuBLAS and cuBLASLt" in out
    assert " GiB free" in out
