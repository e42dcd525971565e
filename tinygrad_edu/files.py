"""Files of arrays: safetensors with JSON in their metadata, written whole or not at all. No pickle."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy

from .errors import message

FORMAT = "tinygrad_edu"
VERSION = "1"
Path_ = str | os.PathLike[str]
Arrays = dict[str, numpy.ndarray[Any, Any]]


def write_weights(arrays: Arrays, path: Path_, metadata: Mapping[str, str] | None = None) -> None:
    """Writes a safetensors file under another name and then renames it, so that `path` is never half written."""
    from safetensors.numpy import save

    # safetensors writes the bytes of a transposed array in the wrong order, so all are made contiguous
    contiguous = {name: numpy.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    write_atomically(path, save(contiguous, {"format": FORMAT, "format_version": VERSION, **(metadata or {})}))


def write_atomically(path: Path_, content: bytes) -> None:
    """Writes a file so that `path` holds the old content or the whole new one; makes its folder if that is missing.

    Raises OSError that names the path, as when the disk is full, and leaves no other file behind.
    """
    import tempfile

    target = Path(os.path.realpath(path))  # a link stays one
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name + ".")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and (not temporary or error.filename in (None, temporary)):
            error.filename = os.fspath(path)
        raise


def check_writable(where: str, path: Path_) -> None:
    """Raises OSError that names `where` and the path, if `write_atomically` cannot write it. Leaves nothing behind."""
    import tempfile

    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        folder = next(folder for folder in target.parents if folder.exists())  # the others will be made
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise of_writer(where, path, error) from None


def of_writer(where: str, path: Path_, error: OSError) -> OSError:
    """The same error for `path`, with the name of what writes it."""
    return OSError(error.errno, f"{where} cannot write: {error.strerror}", os.fspath(path))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_weights(path: Path_) -> tuple[Arrays, dict[str, str]]:
    """Arrays and metadata of a safetensors file. Raises FileNotFoundError, or ValueError if it is no such file."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(message("load", "a file", f"{os.fspath(path)!r}, which is none"))
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            for name, a in arrays.items():
                if a.dtype.kind == "V":  # as those have that ml_dtypes adds, where somebody has imported it
                    raise TypeError(f"{name} is of {a.dtype}")
            return arrays, dict(file.metadata() or {})
    except (SafetensorError, AttributeError, KeyError, TypeError) as error:  # the last ones: dtypes NumPy lacks
        raise ValueError(message("load", "a safetensors file", f"{os.fspath(path)!r}: {error}")) from error
