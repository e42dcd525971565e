"""Files from the network: fetched once, verified by their SHA-256 at each use, and kept in the user's cache.

A file that is under way has the ending ".part"; what is there of it is kept when the connection is cut, the disk full
or the program stopped, and the next call goes on from there. Only a whole file with the right checksum gets its name.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import message

ROUNDS = 4
"""How often each address is tried."""
TIMEOUT = 30.0
"""Seconds without a byte after which a connection is given up."""
CHUNK = 1 << 16


@dataclass(frozen=True)
class File:
    """A file that can be downloaded.

    Attributes:
        name: where it is kept, in the folder of `folder()`; with slashes.
        urls: addresses of the same content, the preferred one first.
        sha256: of the content, 64 hexadecimal digits.
        size: of the content, in bytes.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str
    size: int


class Refused(Exception):
    """An address that gives something else than the file; trying it again would not help."""


def folder() -> Path:
    """Where data are kept: the variable TINYGRAD_EDU_DATA, or "tinygrad_edu/data" in the user's cache directory."""
    chosen, base = os.environ.get("TINYGRAD_EDU_DATA", ""), os.environ.get("XDG_CACHE_HOME", "")
    if chosen:
        return Path(chosen)
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "tinygrad_edu" / "data"


def fetch(file: File) -> Path:
    """The path of the file, which is downloaded unless it is there already.

    Raises OSError if it cannot be downloaded or written, ValueError if what was downloaded is another file.
    """
    target = folder() / file.name
    if is_whole(target, file):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_name(target.name + ".part")) as part:
            if is_whole(target, file):  # another process was faster
                part.close()
                os.unlink(part.name)
                return target
            _download(file, target, part)
            with _writing():
                os.fsync(part.fileno())
            part.close()  # or Windows will not rename it
            os.replace(part.name, target)
    except _Unwritten as error:
        cause: Any = error.__cause__
        hint = "free some space, or name another folder by TINYGRAD_EDU_DATA; what is there is kept and will be used."
        raise OSError(
            cause.errno, message(file.name, f"to write {file.size:,} bytes into {target.parent}", f"{cause}", hint)
        ) from cause
    except FileNotFoundError:  # another process has renamed it
        if not is_whole(target, file):
            raise
    return target


def is_whole(path: Path, file: File) -> bool:
    """Whether the file is there, with the right size and checksum."""
    try:
        with open(path, "rb") as content:
            return os.fstat(content.fileno()).st_size == file.size and _sha256(content) == file.sha256
    except FileNotFoundError:
        return False


def _sha256(content: IO[bytes]) -> str:
    import hashlib

    return hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """The unfinished file, open for reading and writing; another process that wants it waits (not on Windows)."""
    while True:
        with open(path, "a+b", buffering=0) as part:
            with contextlib.suppress(ImportError):
                import fcntl

                fcntl.flock(part, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(os.fstat(part.fileno()), os.stat(path)):
                yield part
                return
        # it was renamed while this process waited


def _download(file: File, target: Path, part: IO[bytes]) -> None:
    """Completes the unfinished file, from one address or another."""
    failures: dict[str, str] = {}
    refused: set[str] = set()
    for attempt in range(ROUNDS):
        for url in [url for url in file.urls if url not in refused]:
            resumed = part.seek(0, os.SEEK_END) > 0
            try:
                _get(file, url, part)
                part.seek(0)
                if _sha256(part) == file.sha256:
                    return
                part.truncate(0)
                failures[url] = "content with another checksum"
                if not resumed:  # else it began with the part of another file, perhaps
                    refused.add(url)
            except Refused as error:
                failures[url] = str(error)
                refused.add(url)
            except (OSError, _http_error()) as error:  # among them URLError and timeouts
                failures[url] = f"{type(error).__name__}: {error}"
        if refused.issuperset(file.urls):
            break
        if attempt < ROUNDS - 1:
            _wait(2.0**attempt)
    found = "; ".join(f"{failure} from {url}" for url, failure in failures.items())
    hint = f"try again later, which goes on where this ended, or put the file by hand at {target}."
    wrong = all("checksum" in failure or "more than" in failure for failure in failures.values())
    raise (ValueError if wrong else ConnectionError)(message(file.name, f"{file.size:,} bytes", found, hint))


def _wait(seconds: float) -> None:
    time.sleep(seconds)


def _get(file: File, url: str, part: IO[bytes]) -> None:
    """Adds what is missing to the unfinished file. Raises OSError or HTTPException for a connection that fails."""
    from urllib.request import Request

    start = part.seek(0, os.SEEK_END)
    if start > file.size:
        start = 0
        part.truncate(0)
    if start == file.size:
        return
    headers = {"User-Agent": "tinygrad_edu", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with _opened(Request(url, headers=headers), part) as response:
        if start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            start = 0  # the server sends all of it
            part.truncate(0)
        with _progress(file, url, start) as advance:
            while chunk := response.read(CHUNK):
                start += len(chunk)
                if start > file.size:
                    part.truncate(0)
                    raise Refused(f"more than {file.size:,} bytes")
                with _writing():
                    left = chunk
                    while left:
                        left = left[part.write(left) :]
                advance(len(chunk))
    if start < file.size:
        raise ConnectionError(f"the connection ended after {start:,} of {file.size:,} bytes")


def _opened(request: Any, part: IO[bytes]) -> Any:
    """The response; redirects lead to http and https only, whatever else a machine can open."""
    from urllib import error
    from urllib import request as urllib

    opener = urllib.OpenerDirector()
    for handler in (
        urllib.ProxyHandler(),
        urllib.HTTPHandler(),
        urllib.HTTPSHandler(),
        urllib.HTTPRedirectHandler(),
        urllib.HTTPDefaultErrorHandler(),
        urllib.HTTPErrorProcessor(),
        urllib.UnknownHandler(),
    ):
        opener.add_handler(handler)
    try:
        return opener.open(request, timeout=TIMEOUT)
    except error.HTTPError as refusal:
        refusal.close()
        if refusal.code == 416:  # there is more of it here than there
            part.truncate(0)
        if refusal.code in (408, 416, 429) or refusal.code >= 500:
            raise ConnectionError(f"the server answers {refusal.code} {refusal.reason}") from None
        raise Refused(f"{refusal.code} {refusal.reason}") from None


def _http_error() -> type[Exception]:
    from http.client import HTTPException

    return HTTPException


class _Unwritten(Exception):
    """The disk refuses: not to be taken for a connection that fails, which is an OSError as well."""


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _Unwritten from error


@contextlib.contextmanager
def _progress(file: File, url: str, start: int) -> Iterator[Any]:
    """Shows a bar on a terminal, a line elsewhere; gives a function to be told of each byte."""
    if sys.stdout is None or not sys.stdout.isatty():
        if sys.stdout is not None:
            print(f"downloading {file.name} ({_size(file.size)}) from {url}", flush=True)
        yield lambda count: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task(file.name, total=file.size, completed=start)
        yield lambda count: bar.advance(task, count)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
