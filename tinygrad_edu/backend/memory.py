"""What is said when a device has no memory left."""

from __future__ import annotations

import gc
from typing import Any

from ..errors import message

SHOWN = 5
"""Arrays that are named."""


def explain_shortage() -> None:
    """Lets CuPy's allocator tell what is there, what holds it and what to try, where it finds no memory."""
    import cupy

    given = cupy.cuda.get_allocator()

    def allocate(size: int) -> Any:
        try:
            return given(size)
        except cupy.cuda.memory.OutOfMemoryError:
            text = _shortage(cupy, size)
        raise MemoryError(text)

    cupy.cuda.set_allocator(allocate)


def _shortage(cupy: Any, size: int) -> str:
    free, total = cupy.cuda.runtime.memGetInfo()
    pool = cupy.get_default_memory_pool()
    limit = pool.get_limit()
    free, total = (min(free, limit - pool.total_bytes()), min(total, limit)) if limit else (free, total)
    arrays = [a for a in gc.get_objects() if type(a) is cupy.ndarray and a.base is None]
    largest = sorted(arrays, key=lambda a: -a.nbytes)[:SHOWN]
    held = ", ".join(f"{a.dtype}{list(a.shape)} {_bytes(a.nbytes)}" for a in largest)
    received = f"{_bytes(free)} free of {_bytes(total)}; the largest of {len(arrays)} arrays: {held or 'none'}"
    hint = "use a smaller batch_size, tg.checkpoint, tg.no_grad for what needs no gradient, or let go of tensors (del)."
    return message(f"cuda:{cupy.cuda.Device().id}", f"{_bytes(size)} of memory", received, hint)


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"
