"""Archives read in memory, never unpacked onto the disk, and no more of them than a limit allows.

All raise ValueError for a file that is damaged, hostile or of another kind.
"""

from __future__ import annotations

import contextlib
import errno
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from ..errors import message

MEMBERS = 200_000
"""More files than that in one archive are refused."""


def read_gzip(path: Path, limit: int) -> bytes:
    """The content, of at most so many bytes."""
    import gzip

    with _damage(path), gzip.open(path) as content:
        return Limited(content, path, limit).read()


def read_tar(path: Path, wanted: Callable[[str], bool], limit: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the wanted files in a ".tar.gz"; all of it may have at most so many bytes."""
    import gzip
    import tarfile

    seen: set[str] = set()
    with _damage(path), gzip.open(path) as content:
        with tarfile.open(fileobj=Limited(content, path, limit), mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                _check_name(path, member.name, seen)
                if wanted(member.name):
                    # the holes of a sparse file are made here, as many as its header says
                    file = archive.extractfile(member) if member.isreg() and not member.issparse() else None
                    if file is None:
                        raise ValueError(message(str(path), f"{member.name!r} to be a file", "a link or another kind"))
                    yield member.name, file.read()
                archive.members = []  # which it would keep all
        content.read(1)  # the checksum at the end


def read_zip(path: Path, wanted: Callable[[str], bool], limit: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the wanted files in a ".zip"; these may have at most so many bytes together."""
    import zipfile

    seen: set[str] = set()
    with _damage(path), zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            _check_name(path, member.filename, seen)
        for member in archive.infolist():
            if wanted(member.filename):
                if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    found = "an encrypted file" if member.flag_bits & 1 else f"method {member.compress_type}"
                    raise ValueError(message(str(path), f"{member.filename!r} to be readable", found))
                with archive.open(member) as content:
                    data = Limited(content, path, limit).read()
                limit -= len(data)
                yield member.filename, data


class Limited:
    """A stream that raises where more than so many bytes come out of it, whatever its headers say."""

    def __init__(self, content: IO[bytes] | Any, path: Path, limit: int):
        self.content, self.path, self.limit, self.left = content, path, limit, limit

    def read(self, size: int = -1) -> bytes:
        data: bytes = self.content.read(self.left + 1 if size < 0 else min(size, self.left + 1))
        self.left -= len(data)
        if self.left < 0:
            raise ValueError(message(str(self.path), f"at most {self.limit:,} bytes, unpacked", "more"))
        return data


def _check_name(path: Path, name: str, seen: set[str]) -> None:
    if name in seen or len(seen) >= MEMBERS:
        found = f"{name!r} twice" if name in seen else "more"
        raise ValueError(message(str(path), f"at most {MEMBERS:,} files of different names", found))
    seen.add(name)
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or parts[0].endswith(":") or ".." in parts:
        raise ValueError(message(str(path), "names inside of the archive", repr(name)))


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """What the standard library raises for a damaged archive, as ValueError in the house form."""
    import tarfile
    import zipfile

    damaged = (EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile, NotImplementedError)
    try:
        yield
    except (*damaged, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # the latter: a place below 0
            raise
        raise ValueError(message(str(path), "an archive that is whole", f"{type(error).__name__}: {error}")) from error
