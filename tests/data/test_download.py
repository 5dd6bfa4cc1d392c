"""Archives arrive whole and verified, once, or not at all; and a message says what to do."""

import base64
import hashlib
import http.server
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections import namedtuple
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.local_server import serving

from headstart.data import download, fetchers
from headstart.errors import DownloadError, StoreError
from headstart.store import locks


def tar_bytes(members: dict[str, bytes], extra: tarfile.TarInfo | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        if extra is not None:
            tar.addfile(extra)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def sri(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


PACKAGE = tar_bytes({"package/a.txt": b"alpha", "package/b.txt": os.urandom(100_000)})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def fake_npm(tmp_path, monkeypatch):
    """Puts an executable `npm` first on PATH: it notes its calls in the returned file, then runs `then`."""

    def install(delivered: bytes, then: str = "cp {delivered} toy-1.0.0.tgz") -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (tmp_path / "delivered").write_bytes(delivered)
        calls = tmp_path / "calls"
        script = folder / "npm"
        body = then.format(delivered=tmp_path / "delivered", folder=tmp_path)
        script.write_text(f'#!/bin/sh\necho "$1 $2" >> {calls}\n{body}\n')
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return calls

    return install


def left_in(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "downloads").iterdir() if path.suffix != ".lock")


def wait_for(condition) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


# npm packages


def test_package_is_fetched_once_and_then_found(cache, fake_npm):
    calls = fake_npm(PACKAGE)
    first = download.fetch_npm_package("toy", "1.0.0", sri(PACKAGE))
    second = download.fetch_npm_package("toy", "1.0.0", sri(PACKAGE))
    assert first == second == cache / "downloads" / "toy-1.0.0.tgz"
    assert first.read_bytes() == PACKAGE
    assert calls.read_text() == "pack toy@1.0.0\n"
    assert left_in(cache) == ["toy-1.0.0.tgz"]


def test_scoped_package_has_a_plain_file_name():
    assert download.npm_file_name("@tensorflow/tfjs", "4.22.0") == "tensorflow-tfjs-4.22.0.tgz"


@pytest.mark.parametrize("delivered", [PACKAGE[:-1000], PACKAGE[:-1] + b"X"], ids=["cut", "altered"])
def test_other_content_is_refused_and_nothing_is_kept(cache, fake_npm, delivered):
    fake_npm(delivered)
    with pytest.raises(DownloadError) as error:
        download.fetch_npm_package("toy", "1.0.0", sri(PACKAGE))
    assert error.value.exit_code == 4
    start = (
        f"`npm pack toy@1.0.0` delivered {len(delivered):,} bytes whose SHA-512 is not the expected "
        f"{sri(PACKAGE)}"
    )
    assert str(error.value).startswith(start)
    assert "\n" not in str(error.value)
    assert left_in(cache) == []


def test_damaged_cached_package_is_fetched_again_with_a_line(cache, fake_npm, capsys):
    calls = fake_npm(PACKAGE)
    path = download.fetch_npm_package("toy", "1.0.0", sri(PACKAGE))
    path.write_bytes(PACKAGE[:5000])
    assert download.fetch_npm_package("toy", "1.0.0", sri(PACKAGE)).read_bytes() == PACKAGE
    assert len(calls.read_text().splitlines()) == 2
    assert (
        capsys.readouterr().err.count("toy-1.0.0.tgz is damaged (its SHA-512 is not the expected one)") == 1
    )


def test_damaged_cached_package_stays_where_nothing_better_arrives(cache, fake_npm):
    fake_npm(b"nonsense")
    path = cache / "downloads" / "toy-1.0.0.tgz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"put here by hand, but the wrong one")
    with pytest.raises(DownloadError):
        download.fetch_npm_package("toy", "1.0.0", sri(PACKAGE))
    assert path.read_bytes() == b"put here by hand, but the wrong one"


def test_package_put_there_by_hand_needs_no_npm(cache, monkeypatch):
    monkeypatch.setenv("PATH", "")
    path = cache / "downloads" / "toy-1.0.0.tgz"
    path.parent.mkdir(parents=True)
    path.write_bytes(PACKAGE)
    assert download.fetch_npm_package("toy", "1.0.0", sri(PACKAGE)) == path


def test_missing_npm_says_what_to_do(cache, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DownloadError) as error:
        download.fetch_npm_package("toy", "1.0.0", sri(PACKAGE))
    assert str(error.value) == (
        "cannot fetch toy@1.0.0: npm is not installed; install Node.js with npm, or put toy-1.0.0.tgz "
        f"({sri(PACKAGE)}) into {cache / 'downloads'}"
    )


def test_failing_npm_gives_its_reason_on_one_line_and_keeps_the_terminal_clean(cache, fake_npm, capfd):
    fake_npm(
        b"",
        "echo noise\n"
        "echo 'npm error code ENOTFOUND' >&2; echo 'npm error syscall getaddrinfo' >&2\n"
        "echo 'npm error errno ENOTFOUND' >&2; echo 'npm error network request failed' >&2; exit 1",
    )
    with pytest.raises(DownloadError) as error:
        download.fetch_npm_package("toy", "1.0.0", sri(PACKAGE))
    assert str(error.value).startswith(
        "`npm pack toy@1.0.0` failed (ENOTFOUND: network request failed); check the network and npm's "
        "settings, or put "
    )
    assert capfd.readouterr() == ("", "")
    assert left_in(cache) == []


def test_npm_that_delivers_nothing_is_an_error(cache, fake_npm):
    fake_npm(b"", "true")
    with pytest.raises(DownloadError, match="left 0 archives, not 1"):
        download.fetch_npm_package("toy", "1.0.0", sri(PACKAGE))


def test_npm_that_stalls_is_killed(cache, fake_npm, tmp_path, monkeypatch):
    monkeypatch.setattr(fetchers, "STALL_SECONDS", 0.3)
    fake_npm(b"", "echo $$ > {folder}/pid; exec sleep 600")
    with pytest.raises(DownloadError, match=r"`npm pack toy@1\.0\.0` stalled"):
        download.fetch_npm_package("toy", "1.0.0", sri(PACKAGE))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert left_in(cache) == []


def test_full_disk_is_noticed_before_the_download(cache, fake_npm, monkeypatch):
    calls = fake_npm(PACKAGE)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(locks.shutil, "disk_usage", lambda path: usage(10**12, 10**12, 1000))
    with pytest.raises(StoreError, match=r"fetching toy@1\.0\.0 needs 0\.3 GB"):
        download.fetch_npm_package("toy", "1.0.0", sri(PACKAGE), size_bytes=150_000_000)
    assert not calls.exists()


def test_cache_that_cannot_be_written_is_a_store_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StoreError, match="cannot write"):
        download.fetch_npm_package("toy", "1.0.0", sri(PACKAGE))


def start_fetching(log: Path) -> subprocess.Popen:
    fetch = f"download.fetch_npm_package('toy', '1.0.0', {sri(PACKAGE)!r})"
    code = f"from headstart.data import download; print({fetch})"
    source = str(Path(download.__file__).parents[2])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    with log.open("w") as file:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": path},
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def test_two_processes_at_once_do_one_download(cache, fake_npm, tmp_path):
    gate = "while [ ! -e {folder}/go ]; do sleep 0.05; done; cp {delivered} toy-1.0.0.tgz"
    calls = fake_npm(PACKAGE, gate)
    logs = [tmp_path / "log0", tmp_path / "log1"]
    processes = [start_fetching(log) for log in logs]
    wait_for(lambda: any("waiting for another headstart process" in log.read_text() for log in logs))
    (tmp_path / "go").touch()
    assert [process.wait(60) for process in processes] == [0, 0], [log.read_text() for log in logs]
    assert calls.read_text() == "pack toy@1.0.0\n"
    assert all(log.read_text().endswith(f"{cache / 'downloads' / 'toy-1.0.0.tgz'}\n") for log in logs)


def test_download_killed_in_the_middle_leaves_nothing_that_counts(cache, fake_npm, tmp_path):
    fake_npm(PACKAGE[:5000], "cp {delivered} toy-1.0.0.tgz; echo $$ > {folder}/pid; exec sleep 600")
    process = start_fetching(tmp_path / "log")
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    process.kill()
    process.wait()
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert "toy-1.0.0.tgz" not in left_in(cache)
    fake_npm(PACKAGE)
    assert download.fetch_npm_package("toy", "1.0.0", sri(PACKAGE)).read_bytes() == PACKAGE
    assert left_in(cache) == ["toy-1.0.0.tgz"]


# by HTTPS


@pytest.fixture
def server():
    """A local web server; `answer` (bytes, and how to stall in the middle) can be set on it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body, stall = self.server.answer
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            if stall != "endless":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:1000] if stall else body)
            self.wfile.flush()
            if stall == "silent":
                self.server.stop_stalling.wait(60)
            elif stall == "endless":
                self.wfile.write(bytes(100_000))
            elif stall == "drip":
                with suppress(OSError):  # the other side has hung up
                    for _ in range(1000):
                        self.wfile.write(b"x")
                        if self.server.stop_stalling.wait(0.02):
                            return
                    self.server.dripped_to_the_end.set()

        def log_message(self, *args):
            pass

    with serving(Handler) as running:
        running.stop_stalling, running.dripped_to_the_end = threading.Event(), threading.Event()
        running.answer = (PACKAGE, None)
        running.url = f"http://127.0.0.1:{running.server_port}/folder/toy.tar.gz?x=1"
        yield running
        running.stop_stalling.set()


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


MD5 = f"md5:{hashlib.md5(PACKAGE).hexdigest()}"
SHA256_PREFIX = f"sha256:{hashlib.sha256(PACKAGE).hexdigest()[:8]}"


@pytest.mark.parametrize(
    "integrity", [MD5, SHA256_PREFIX], ids=["md5", "sha256"]
)  # the package's bytes differ in each process
def test_archive_is_fetched_and_verified(cache, server, integrity):
    path = download.fetch_archive(server.url, integrity)
    assert path == cache / "downloads" / "toy.tar.gz"
    assert path.read_bytes() == PACKAGE
    assert left_in(cache) == ["toy.tar.gz"]


def test_cached_archive_needs_no_network(cache, server, closed_port):
    fetched = download.fetch_archive(server.url, MD5)
    assert download.fetch_archive(f"http://127.0.0.1:{closed_port}/toy.tar.gz", MD5) == fetched


def test_archive_with_another_hash_is_refused(cache, server):
    server.answer = (PACKAGE[:-10], None)
    with pytest.raises(DownloadError, match="whose MD5 is not the expected"):
        download.fetch_archive(server.url, MD5)
    assert left_in(cache) == []


def test_missing_archive_is_a_download_error(cache, server):
    server.answer = (None, None)
    with pytest.raises(DownloadError, match="HTTP Error 404"):
        download.fetch_archive(server.url, MD5)
    assert left_in(cache) == []


def test_stalled_download_is_given_up(cache, server):
    server.answer = (PACKAGE, "silent")
    with pytest.raises(DownloadError, match="timed out"):
        download.fetch_archive(server.url, MD5, stall_seconds=0.2)
    assert left_in(cache) == []


def test_download_that_drips_is_given_up(cache, server):
    server.answer = (PACKAGE, "drip")
    with pytest.raises(DownloadError, match=r"sends only \d kB/s: given up"):
        download.fetch_archive(server.url, MD5, stall_seconds=0.2, least_bytes_per_second=1_000_000)
    assert not server.dripped_to_the_end.is_set()
    assert left_in(cache) == []


@pytest.mark.parametrize("stall", [None, "endless"], ids=["stated", "not stated"])
def test_a_file_that_is_larger_than_expected_is_given_up(cache, server, monkeypatch, stall):
    monkeypatch.setattr(fetchers, "_SPARE_BYTES", 0)
    server.answer = (PACKAGE, stall)
    with pytest.raises(
        DownloadError, match=r"brings more than 0 MB, 0 MB were expected: given up, nothing is kept"
    ):
        download.fetch_archive(server.url, MD5, size_bytes=len(PACKAGE) // 3)
    assert left_in(cache) == []


def test_a_file_whose_size_nobody_has_stated_has_a_limit_too(cache, server, monkeypatch):
    monkeypatch.setattr(fetchers, "UNKNOWN_BYTES", len(PACKAGE) - 1)
    with pytest.raises(DownloadError, match=r"brings more than 0 MB: given up"):
        download.fetch_archive(server.url, MD5)
    monkeypatch.setattr(fetchers, "UNKNOWN_BYTES", len(PACKAGE))
    assert download.fetch_archive(server.url, MD5).read_bytes() == PACKAGE


def test_server_that_is_not_there_is_given_up_at_once(cache, closed_port):
    url = f"https://127.0.0.1:{closed_port}/toy.tar.gz"
    with pytest.raises(DownloadError) as error:
        download.fetch_archive(url, MD5)
    assert str(error.value) == (
        f"cannot fetch {url}: its server cannot be reached; connect to the network, or put toy.tar.gz "
        f"({MD5}) "
        f"into {cache / 'downloads'}"
    )


def test_name_resolution_that_hangs_does_not_hang_us(monkeypatch):
    release, ended = threading.Event(), threading.Event()

    def hang(*args, **kwargs):
        release.wait(20)
        ended.set()
        raise OSError("released")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    assert not download.is_reachable("https://example.invalid/x", wait_seconds=0.05)
    assert not ended.is_set()
    release.set()


def test_proxy_is_asked_in_place_of_the_server(server, closed_port, monkeypatch):
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.server_port}")
    assert download.is_reachable("https://example.invalid/x")
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{closed_port}")
    assert not download.is_reachable("https://example.invalid/x")


@pytest.mark.parametrize(
    "proxy", ["http://127.0.0.1:port", "http://:99999", "127.0.0.1:99999999999", "http://[::1", "\x1b[2J"]
)
def test_a_proxy_that_is_none_is_one_line_without_its_password(cache, monkeypatch, proxy):
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("https_proxy", proxy.replace("http://", "http://me:secret@"))
    assert not download.is_reachable("https://example.invalid/x")
    with pytest.raises(DownloadError, match="the variable https_proxy names no proxy") as error:
        download.fetch_archive("https://example.invalid/x.tgz", "sha256:12345678")
    assert "\n" not in str(error.value) and "secret" not in str(error.value)


# members


def test_member_is_read_without_touching_the_disk(tmp_path):
    archive = tmp_path / "toy.tgz"
    archive.write_bytes(PACKAGE)
    assert list(download.read_members(archive, ["package/a.txt"])) == [("package/a.txt", b"alpha")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.tgz"]


def test_members_come_in_the_archives_order(tmp_path):
    archive = tmp_path / "toy.tgz"
    archive.write_bytes(tar_bytes({"b": b"2", "a": b"1", "c": b"3"}))
    assert list(download.read_members(archive, ["c", "b"])) == [("b", b"2"), ("c", b"3")]


def test_absent_member_is_named(tmp_path):
    archive = tmp_path / "toy.tgz"
    archive.write_bytes(PACKAGE)
    with pytest.raises(DownloadError, match=r"toy\.tgz has no package/z\.txt"):
        list(download.read_members(archive, ["package/z.txt"]))


@pytest.mark.parametrize(
    "content", [PACKAGE[:-1000], b"not an archive", b""], ids=["truncated", "other", "empty"]
)
def test_damaged_archive_is_a_download_error(tmp_path, content):
    archive = tmp_path / "toy.tgz"
    archive.write_bytes(content)
    with pytest.raises(DownloadError, match=r"toy\.tgz is damaged"):
        list(download.read_members(archive, ["package/b.txt"]))


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "package/../../evil", "..\\evil"])
def test_member_outside_the_folder_is_refused(tmp_path, name):
    archive = tmp_path / "toy.tgz"
    archive.write_bytes(tar_bytes({name: b"x", "package/a.txt": b"alpha"}))
    with pytest.raises(DownloadError, match="lies outside its folder"):
        list(download.read_members(archive, ["package/a.txt"]))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_link_or_device_is_refused(tmp_path, kind):
    evil = tarfile.TarInfo("package/evil")
    evil.type, evil.linkname = kind, "/etc/passwd"
    archive = tmp_path / "toy.tgz"
    archive.write_bytes(tar_bytes({"package/a.txt": b"alpha"}, evil))
    with pytest.raises(DownloadError, match="is a link or a device"):
        list(download.read_members(archive, ["package/a.txt"]))
