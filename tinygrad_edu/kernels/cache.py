"""From LLVM text to machine code in memory, with the object code kept on disk between runs.

A file holds a digest and the object code; its name is the SHA-256 of everything that the code depends on. What does not
match its digest, or might have been written by another user, is compiled anew. A directory that cannot be
written costs time, never an error. The variable TINYGRAD_EDU_CACHE names the directory, or turns the cache off ("0" or
"off"); without it the files lie in the user's cache directory.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import itertools
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import llvm

FORMAT = 1
"""Part of every key. Raise it when the same text and the same LLVM give other code (other passes, other options)."""

LIMIT = 64 << 20
"""Bytes that the files may take together; beyond, the ones not used for longest are removed."""

_OBJECTS = "[0-9a-f]" * 64 + ".*"  # finished files and unfinished ones, and nothing else in the directory
_counter = itertools.count()


class Code:
    """Machine code in memory and the addresses of its functions by name. It is freed with this object."""

    def __init__(self, text: str, names: Sequence[str]):
        linker = _linker()
        builder = importlib.import_module("llvmlite.binding").JITLibraryBuilder().add_object_img(object_code(text))
        for name in names:
            builder.export_symbol(name)
        self._owner = builder.link(linker, f"code{next(_counter)}")
        self.addresses: dict[str, int] = {name: self._owner[name] for name in names}


def object_code(text: str) -> bytes:
    """The object code of a module in LLVM's text form, from the disk if it was compiled before.

    Raises RuntimeError with LLVM's words for text that it refuses, ImportError without llvmlite.
    """
    name = key(text)
    code = load(name)
    if code is None:
        code = llvm.object_code(text)
        store(name, code)
    return code


def key(text: str) -> str:
    """The SHA-256, as 64 hexadecimal digits, of all that the object code of `text` depends on."""
    return hashlib.sha256("\0".join([*_target(), text]).encode()).hexdigest()


def directory() -> Path | None:
    """Where the files lie (made if need be); None if the cache is off, or not this user's alone to write."""
    chosen = os.environ.get("TINYGRAD_EDU_CACHE", "")
    if chosen.lower() in ("0", "off"):
        return None
    try:
        base = os.environ.get("XDG_CACHE_HOME", "")
        folder = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
        path = Path(chosen) if chosen else folder / "tinygrad_edu"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path if _trusted(path.stat()) else None
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return None


def load(name: str) -> bytes | None:
    """The object code kept under that key; None if there is none, or none that can be trusted."""
    folder = directory()
    if folder is None:
        return None
    try:
        with open(folder / f"{name}.code", "rb") as file:
            data = file.read() if _trusted(os.fstat(file.fileno())) else b""
            digest, code = data[:32], data[32:]
            if digest != _digest(name, code):
                return None
            os.utime(folder / f"{name}.code")  # the oldest are removed first
            return code
    except OSError:
        return None


def store(name: str, code: bytes) -> None:
    """Keeps object code under that key. Does nothing where that is not possible."""
    folder = directory()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        descriptor, unfinished = tempfile.mkstemp(".tmp", f"{name}.", folder)  # readable by this user only
        try:
            with open(descriptor, "wb") as file:
                file.write(_digest(name, code) + code)
            os.replace(unfinished, folder / f"{name}.code")  # readers see all of it or nothing
        except BaseException:
            os.unlink(unfinished)
            raise
        _shrink(folder)


def _shrink(folder: Path) -> None:
    """Removes the files not used for longest until the rest fits the limit."""
    files = []
    for path in folder.glob(_OBJECTS):
        with contextlib.suppress(FileNotFoundError):  # removed by another process
            status = path.stat()
            files.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= LIMIT:
            return
        path.unlink(missing_ok=True)
        total -= size


def _digest(name: str, code: bytes) -> bytes:
    return hashlib.sha256(name.encode() + code).digest()


def _trusted(status: os.stat_result) -> bool:
    """Whether only this user can have written it (on systems that know users)."""
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


@functools.cache
def _target() -> tuple[str, ...]:
    """What object code depends on besides the text."""
    return (str(FORMAT), importlib.import_module("llvmlite").__version__, sys.platform, *llvm.host())


@functools.cache
def _linker() -> Any:
    binding = importlib.import_module("llvmlite.binding")
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.create_lljit_compiler()
