"""Array modules and devices: everything that knows whether an array is NumPy's or CuPy's."""

from .devices import (
    Array, Device, array_module, chosen_device, cuda_status, default_device, device, device_of, failures_raise,
    memory_in_use, special_functions, synchronize, to_device, to_host, use_device,
)
from .dtypes import as_dtype
from .malloc import keep_freed_memory
from .random import Generator, default_generator, seed
from .sums import sum_over

__all__ = [
    "Array", "Device", "Generator", "array_module", "as_dtype", "chosen_device", "cuda_status", "default_device",
    "default_generator", "device", "device_of", "failures_raise", "memory_in_use", "seed", "special_functions",
    "sum_over", "synchronize", "to_device", "to_host", "use_device",
]

keep_freed_memory()
