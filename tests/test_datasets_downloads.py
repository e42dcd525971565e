"""Downloads from a server on this machine, that cuts, lies, and redirects; what is kept, and what is refused."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import contextlib
import errno
import hashlib
import http.server
import io
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from tinygrad_edu import datasets
from tinygrad_edu.datasets import download
from tinygrad_edu.datasets.download import File, fetch

CONTENT = np.random.default_rng(0).bytes(300_000)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by what the test has put into `server.answers`, one after another; then with the content."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        answer = self.server.answers.pop(0) if self.server.answers else "whole"
        self.close_connection = True
        if isinstance(answer, int):
            self.send_error(answer)
        elif answer.startswith("to "):
            self.send_response(302)
            self.send_header("Location", answer.removeprefix("to "))
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.send_content(answer, asked)

    def send_content(self, answer, asked):
        content = {"other": CONTENT[::-1], "longer": CONTENT + b"x"}.get(answer, self.server.files[self.path])
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and answer != "no ranges" else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if answer != "endless":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        content = content[start:]
        with contextlib.suppress(ConnectionError):
            if answer == "cut":
                content = content[: len(content) // 2]
            elif answer == "endless":
                content *= 10
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGRAD_EDU_DATA", str(tmp_path / "data"))
    waits = []
    monkeypatch.setattr(download, "_wait", waits.append)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.answers, made.requests, made.waits = [], [], waits
        made.files = {"/a.bin": CONTENT, "/b.bin": CONTENT}
        made.url = f"http://127.0.0.1:{made.server_port}"
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def described(server, *names, content=CONTENT):
    urls = tuple(f"{server.url}/{name}" for name in names or ("a.bin",))
    return File("set/a.bin", urls, hashlib.sha256(content).hexdigest(), len(content))


def left():
    """What lies in the cache, by name."""
    return sorted(path.name for path in (download.folder() / "set").glob("*"))


def test_downloads_once_and_says_so(server, capsys):
    file = described(server)
    path = fetch(file)
    assert path == download.folder() / "set" / "a.bin"
    assert path.read_bytes() == CONTENT
    assert fetch(file).read_bytes() == CONTENT
    assert server.requests == [("/a.bin", None)]
    assert left() == ["a.bin"]
    assert capsys.readouterr().out == f"downloading set/a.bin (300.0 kB) from {server.url}/a.bin\n"


def test_a_bar_on_a_terminal(server, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    fetch(described(server))
    assert "set/a.bin" in sys.stdout.getvalue()
    assert "300" in sys.stdout.getvalue()


def test_a_damaged_file_is_downloaded_anew(server):
    path = fetch(described(server))
    path.write_bytes(CONTENT[:-1] + b"?")
    assert fetch(described(server)).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_goes_on_where_the_connection_was_cut(server):
    server.answers = ["cut", "cut", "whole"]
    assert fetch(described(server)).read_bytes() == CONTENT
    assert server.requests == [("/a.bin", None), ("/a.bin", "bytes=150000-"), ("/a.bin", "bytes=225000-")]
    assert server.waits == [1.0, 2.0]


def test_starts_anew_where_the_server_knows_no_ranges(server):
    server.answers = ["cut", "no ranges"]
    assert fetch(described(server)).read_bytes() == CONTENT


def test_the_next_call_goes_on(server):
    server.answers = ["cut"] * download.ROUNDS
    with pytest.raises(ConnectionError, match=r"ConnectionError: the connection ended after 281,250 of 300,000 bytes"):
        fetch(described(server))
    assert left() == ["a.bin.part"]
    assert fetch(described(server)).read_bytes() == CONTENT
    assert server.requests[-1] == ("/a.bin", "bytes=281250-")
    assert left() == ["a.bin"]


@pytest.mark.parametrize("answer", [500, 503, 429, "cut"])
def test_tries_again(server, answer):
    server.answers = [answer]
    assert fetch(described(server)).read_bytes() == CONTENT
    assert server.waits == [1.0]


@pytest.mark.parametrize("answer", [404, 403, "other", "longer", "endless"])
def test_another_address_where_one_gives_something_else(server, answer):
    server.answers = [answer]
    assert fetch(described(server, "a.bin", "b.bin")).read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/a.bin", "/b.bin"]
    assert server.waits == []


WRONG = [
    ([404], ConnectionError, "received 404 Not Found from"),
    (["other"], ValueError, "received content with another checksum from"),
    (["longer"], ValueError, "received more than 300,000 bytes from"),
    (["endless"], ValueError, "received more than 300,000 bytes from"),
    ([503] * download.ROUNDS, ConnectionError, "received ConnectionError: the server answers 503 Service Unavailable from"),
    (["to file:///etc/hostname"], ConnectionError, "received 302 Found - Redirection to url 'file:///etc/hostname' is not"),
    (["to ftp://127.0.0.1:1/a"] * download.ROUNDS, ConnectionError, "received URLError: <urlopen error unknown url type: ftp>"),
]  # fmt: skip


@pytest.mark.parametrize(("answers", "error", "text"), WRONG)
def test_what_is_refused_leaves_no_file(server, answers, error, text):
    server.answers = [*answers]
    with pytest.raises(error, match=r"set/a[.]bin: expected 300,000 bytes, ") as caught:
        fetch(described(server))
    assert text in str(caught.value)
    assert f"put the file by hand at {download.folder() / 'set' / 'a.bin'}." in str(caught.value)
    assert left() == ["a.bin.part"]
    assert (download.folder() / "set" / "a.bin.part").stat().st_size == 0


def test_follows_a_redirect(server):
    server.answers = [f"to {server.url}/b.bin"]
    assert fetch(described(server)).read_bytes() == CONTENT


def test_nobody_answers(server):
    file = File("set/a.bin", ("http://127.0.0.1:9/a.bin",), "0" * 64, 10)  # the port of the discard service
    with pytest.raises(
        ConnectionError, match=r"Connection refused.* from http://127\.0\.0\.1:9/a\.bin\. Hint: try again"
    ):
        fetch(file)


def test_a_part_of_another_file_does_not_stay(server):
    part = download.folder() / "set" / "a.bin.part"
    part.parent.mkdir(parents=True)
    for wrong in (b"not the beginning", CONTENT + b"too much", bytes(len(CONTENT))):
        part.write_bytes(wrong)
        assert fetch(described(server)).read_bytes() == CONTENT
        (download.folder() / "set" / "a.bin").unlink()


def test_a_server_with_less_than_is_here(server):
    part = download.folder() / "set" / "a.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:200_000])
    server.files["/b.bin"] = CONTENT[:1000]
    assert fetch(described(server, "b.bin", "a.bin")).read_bytes() == CONTENT


def test_a_full_disk(server, monkeypatch):
    real = download._writing

    @contextlib.contextmanager
    def full():
        with real():
            yield
            if sum(path.stat().st_size for path in (download.folder() / "set").iterdir()) > 100_000:
                raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_writing", full)
    with pytest.raises(OSError, match=r"expected to write 300,000 bytes into .*, received .*No space left") as caught:
        fetch(described(server))
    assert caught.value.errno == errno.ENOSPC
    assert "Hint: free some space, or name another folder by TINYGRAD_EDU_DATA" in str(caught.value)
    assert left() == ["a.bin.part"]
    monkeypatch.setattr(download, "_writing", real)
    assert fetch(described(server)).read_bytes() == CONTENT
    assert server.requests[1][1].startswith("bytes=1")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_what_the_system_says_of_a_full_disk(server):
    part = download.folder() / "set" / "a.bin.part"
    part.parent.mkdir(parents=True)
    with open("/dev/full", "r+b", buffering=0) as full, pytest.raises(download._Unwritten) as caught:
        download._get(described(server), f"{server.url}/a.bin", full)
    assert caught.value.__cause__.errno == errno.ENOSPC


def test_an_interrupt_keeps_what_is_there(server, monkeypatch):
    real = download._progress

    @contextlib.contextmanager
    def interrupted(*arguments):
        with real(*arguments):
            yield lambda count: (_ for _ in ()).throw(KeyboardInterrupt)

    monkeypatch.setattr(download, "_progress", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(described(server))
    assert left() == ["a.bin.part"]
    monkeypatch.setattr(download, "_progress", real)
    assert fetch(described(server)).read_bytes() == CONTENT
    assert server.requests[1][1] == f"bytes={download.CHUNK}-"


def test_two_processes_at_once(server):
    file = described(server)
    program = f"from tinygrad_edu.datasets.download import *; print(fetch({file!r}).stat().st_size)"
    both = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        found, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert found.endswith("300000\n")
    assert (download.folder() / "set" / "a.bin").read_bytes() == CONTENT
    assert left() == ["a.bin"]
    assert len(server.requests) == 1


def test_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYGRAD_EDU_DATA", str(tmp_path))
    assert download.folder() == tmp_path
    monkeypatch.delenv("TINYGRAD_EDU_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert download.folder() == tmp_path / "cache" / "tinygrad_edu" / "data"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert download.folder() == tmp_path / ".cache" / "tinygrad_edu" / "data"


def test_a_folder_that_cannot_be_made(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TINYGRAD_EDU_DATA", str(tmp_path / "file"))
    with pytest.raises(NotADirectoryError, match="file/set"):
        fetch(described(server))


def all_files():
    for name in datasets.__all__:
        made = getattr(datasets, name)
        yield from getattr(made, "files", None) or [one for one in [getattr(made, "file", None)] if one]


def test_every_file_is_well_described():
    files = list(all_files())
    assert len(files) == 13
    assert len({file.name for file in files}) == len({file.sha256 for file in files}) == 13
    for file in files:
        assert len(bytes.fromhex(file.sha256)) == 32
        assert file.size > 4000
        assert all(
            url.startswith(("https://", "http://")) and url.endswith(file.name.split("/")[1]) for url in file.urls
        )
