"""`tinygrad-edu doctor`: what is wrong with the set-up of a GPU, and the command that mends it."""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..backend import cuda_status
from .arguments import print_table

WHEELS = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
DRIVER = "libcuda.so.1" if sys.platform != "win32" else "nvcuda.dll"
LIBRARIES = ("nvrtc", "cublas", "cublasLt")


class Finding(NamedTuple):
    """What was found of one thing. `mend` is the command that mends it; "" where nothing is wrong, or no command
    would."""

    what: str
    works: bool
    text: str
    mend: str = ""


class Sick(Exception):
    """Something does not work: why, and the command that mends it."""

    def __init__(self, text: str, mend: str = ""):
        super().__init__(text)
        self.mend = mend


def add_doctor(commands: Any) -> None:
    text = "tell what is wrong with a GPU set-up, and the command that mends it"
    doctor = commands.add_parser(
        "doctor", help=text, description=f"{text.capitalize()}. The exit status is 0 if CUDA works, else 1."
    )
    doctor.set_defaults(run=run_doctor)


def run_doctor(arguments: argparse.Namespace) -> int:
    found = list(examined())
    print_table([("ok" if finding.works else "FAILS", f"{finding.what}: {finding.text}") for finding in found])
    last = found[-1]
    if last.works:
        print("\nCUDA works: tg.use_device('cuda').")
        return 0
    print(f"\n{last.what}: {last.text}" + (f"\nTo mend it:\n\n    {last.mend}" if last.mend else ""))
    return 1


def examined() -> Iterator[Finding]:
    """One after the other, up to the first that does not work: what comes later needs it."""
    for what, look in CHECKS.items():
        try:
            yield Finding(what, True, look())
        except Sick as error:
            yield Finding(what, False, str(error), error.mend)
            return
        except Exception as error:  # CuPy and its libraries fail in many ways
            yield Finding(what, False, f"{type(error).__name__}: {str(error).strip() or 'no reason is given'}")
            return


# What is looked at


def driver_version() -> int:
    """The newest CUDA that the driver can run, as 1000 * major + 10 * minor. Raises Sick where there is no driver."""
    mend = "sudo apt install nvidia-driver-580    # or what your system calls NVIDIA's driver; then restart"
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        text = f"{DRIVER} is not found, so no driver of NVIDIA is installed. Without a GPU of NVIDIA use device='cpu'"
        raise Sick(text, mend) from None
    version = ctypes.c_int()
    status = driver.cuInit(0) or driver.cuDriverGetVersion(ctypes.byref(version))
    if status == 100:
        raise Sick("it sees no GPU", "nvidia-smi    # should list one; inside a container start that with --gpus all")
    if status:
        mend = "nvidia-smi    # if that fails too, restart: after an update the driver may not be the kernel's"
        raise Sick(f"it does not start (CUDA error {status})", mend)
    return version.value


def driver() -> str:
    version = driver_version()
    text = f"runs CUDA up to {version // 1000}.{version % 1000 // 10}"
    if version < 12000:
        raise Sick(f"{text}; CuPy 14 needs 12.0", "sudo apt install nvidia-driver-580    # then restart")
    return text


def extra() -> str:
    """The extra of this package for the driver."""
    return "cuda13" if driver_version() >= 13000 else "cuda12"


def installed() -> dict[str, str]:
    """The wheels of CuPy that are installed, with their versions."""
    return {name: version for name in WHEELS if (version := _version(name))}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def wheel() -> str:
    found = installed()
    install = f"pip install 'tinygrad-edu[{extra()}]'"
    text = ", ".join(f"{name} {version}" for name, version in found.items())
    if not found:
        raise Sick("none is installed", install)
    if len(found) > 1:
        raise Sick(f"{text}: only one may be", f"pip uninstall -y {' '.join(found)} && {install}")
    (name, version), *_ = found.items()
    again = f"pip uninstall -y {name} && {install}"
    if name == "cupy-cuda13x" and extra() == "cuda12":
        raise Sick(f"{text} needs a driver that runs CUDA 13", again)
    if name == "cupy-cuda11x" or tuple(map(int, version.split(".")[:2])) < (14, 2):
        raise Sick(f"{text}; 14.2 or newer is needed", again)
    return text


def imported() -> str:
    import cupy

    return f"CuPy {cupy.__version__}"


def libraries() -> str:
    """Those that CuPy loads when they are needed first, which is late."""
    from ..kernels.cuda.blas import loaded

    missing = [name for name in LIBRARIES if loaded(name) is None]
    if missing:
        ((name, _),) = installed().items()
        raise Sick(f"lib{', lib'.join(missing)} not found", f"pip install '{name}[ctk]'")
    return ", ".join(f"lib{name}" for name in LIBRARIES)


def devices() -> str:
    import cupy

    runtime = cupy.cuda.runtime
    found = [runtime.getDeviceProperties(i) for i in range(runtime.getDeviceCount())]
    return ", ".join(f"{p['name'].decode()} (compute capability {p['major']}.{p['minor']})" for p in found)


def kernel() -> str:
    import cupy

    text = 'extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }'
    x = cupy.ones(4, "float32")
    cupy.RawKernel(text, "twice")((1,), (4,), (x,))
    if x.tolist() != [2, 2, 2, 2]:
        raise Sick(f"it gave {x.tolist()} instead of four times 2")
    return "compiled and run"


def product() -> str:
    import cupy

    from ..kernels.cuda.blas import matmul

    works, reason = cuda_status()
    if not works:
        raise Sick(reason)
    y = matmul(cupy.ones((2, 2), "float32"), cupy.ones((2, 2), "float32"))
    if y.tolist() != [[2, 2], [2, 2]]:
        raise Sick(f"cuBLASLt gave {y.tolist()} instead of four times 2")
    return "2x2, by cuBLAS and cuBLASLt"


def memory() -> str:
    import cupy

    free, total = cupy.cuda.runtime.memGetInfo()
    text = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    if free < 1 << 28:
        raise Sick(f"{text}: hardly any", "nvidia-smi    # shows which processes hold it")
    return text


CHECKS: dict[str, Callable[[], str]] = {
    "driver": driver,
    "CuPy's wheel": wheel,
    "import cupy": imported,
    "libraries": libraries,
    "devices": devices,
    "a kernel": kernel,
    "a product": product,
    "memory": memory,
}
