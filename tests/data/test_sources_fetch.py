"""Downloads and archives: whole and unchanged, or not there at all."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from grela.data.sources.archive import unpack
from grela.data.sources.fetch import check, fetch, url_opener
from grela.data.sources.source import RemoteFile
from grela.errors import SourceError

BODY = bytes(range(256)) * 40
HTTP = url_opener("http", timeout=5)
Answer = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """A server on the loopback address; `answers` maps a path to what is done with a request for it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.answers: dict[str, Answer] = {}

    def file(self, path: str, **known: object) -> RemoteFile:
        return RemoteFile(path.rpartition("/")[2], f"{self.address}{path}", **known)  # type: ignore[arg-type]


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here.answers[self.path](self)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here = Site(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield here
    server.shutdown()
    thread.join()
    server.server_close()


def send(body: bytes, *, length: int | None = None, status: int = 200, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        if length is not None:
            request.send_header("Content-Length", str(length))
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def refused(file: RemoteFile, folder: Path, match: str) -> None:
    """The download raises, and leaves nothing behind."""
    before = sorted(folder.iterdir())
    with pytest.raises(SourceError, match=match):
        fetch(file, folder, say=lambda line: None, open_url=HTTP)
    assert sorted(folder.iterdir()) == before


def test_a_download_is_the_publishers_bytes(site: Site, tmp_path: Path) -> None:
    site.answers["/a.bin"] = send(BODY, length=len(BODY))
    md5, sha256 = hashlib.md5(BODY).hexdigest(), hashlib.sha256(BODY).hexdigest()
    lines: list[str] = []
    file = site.file("/a.bin", md5=md5, sha256=sha256, size=len(BODY))
    path = fetch(file, tmp_path / "new", say=lines.append, open_url=HTTP)
    assert path == tmp_path / "new" / "a.bin"
    assert path.read_bytes() == BODY
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]
    assert lines[0].startswith(f"downloading {site.address}/a.bin")


def test_a_download_without_length_is_accepted_when_the_connection_ends(site: Site, tmp_path: Path) -> None:
    site.answers["/a.bin"] = send(BODY)
    assert fetch(site.file("/a.bin"), tmp_path, say=lambda line: None, open_url=HTTP).read_bytes() == BODY


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_wrong_checksum_refuses_and_keeps_nothing(site: Site, tmp_path: Path, algorithm: str) -> None:
    site.answers["/a.bin"] = send(BODY, length=len(BODY))
    wrong = hashlib.new(algorithm, b"something else").hexdigest()
    refused(site.file("/a.bin", **{algorithm: wrong}), tmp_path, f"has {algorithm} .* expected {wrong}")


def test_a_wrong_checksum_leaves_an_older_file_alone(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"older")
    site.answers["/a.bin"] = send(BODY, length=len(BODY))
    refused(site.file("/a.bin", md5="0" * 32), tmp_path, "expected 0000")
    assert (tmp_path / "a.bin").read_bytes() == b"older"


def test_a_download_that_breaks_off_leaves_nothing(site: Site, tmp_path: Path) -> None:
    site.answers["/a.bin"] = send(BODY[:5000], length=len(BODY))
    refused(site.file("/a.bin"), tmp_path, "broke off after 5,000 of 10,240 bytes")


def test_a_download_that_broke_off_can_be_taken_again(site: Site, tmp_path: Path) -> None:
    site.answers["/a.bin"] = send(BODY[:5000], length=len(BODY))
    refused(site.file("/a.bin"), tmp_path, "broke off")
    site.answers["/a.bin"] = send(BODY, length=len(BODY))
    assert fetch(site.file("/a.bin"), tmp_path, say=lambda line: None, open_url=HTTP).read_bytes() == BODY


def test_a_download_interrupted_by_the_user_leaves_nothing(site: Site, tmp_path: Path) -> None:
    site.answers["/a.bin"] = send(BODY, length=len(BODY))

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(site.file("/a.bin"), tmp_path, say=interrupt, open_url=HTTP)
    assert list(tmp_path.iterdir()) == []


def test_a_download_longer_than_announced_as_known_is_refused(site: Site, tmp_path: Path) -> None:
    site.answers["/a.bin"] = send(BODY, length=len(BODY))
    refused(site.file("/a.bin", size=100), tmp_path, "is 10,240 bytes, expected at most 100")


def test_a_download_without_end_stops_at_the_limit(site: Site, tmp_path: Path) -> None:
    site.answers["/a.bin"] = send(BODY)
    refused(site.file("/a.bin", limit=1000), tmp_path, "sends more than 1,000 bytes")


def test_a_download_shorter_than_known_is_refused(site: Site, tmp_path: Path) -> None:
    site.answers["/a.bin"] = send(BODY)
    refused(site.file("/a.bin", size=len(BODY) + 1), tmp_path, "has 10,240 bytes, expected 10,241")


def test_a_missing_file_is_named_with_the_answer(site: Site, tmp_path: Path) -> None:
    site.answers["/a.bin"] = send(b"", length=0, status=404)
    refused(site.file("/a.bin"), tmp_path, r"/a\.bin cannot be downloaded: the server answers 404")


def test_a_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    refused(RemoteFile("a.bin", "http://127.0.0.1:9/a.bin"), tmp_path, "cannot be downloaded")


def test_a_server_that_says_nothing_is_given_up(site: Site, tmp_path: Path) -> None:
    done = threading.Event()
    site.answers["/a.bin"] = lambda request: (done.wait(5), None)[1]
    with pytest.raises(SourceError, match="timed out"):
        fetch(site.file("/a.bin"), tmp_path, say=lambda line: None, open_url=url_opener("http", timeout=0.2))
    done.set()


def test_only_https_is_opened() -> None:
    open_url = url_opener()
    for url in ("http://127.0.0.1:9/a", "file:///etc/hostname", "ftp://127.0.0.1/a"):
        with pytest.raises(SourceError, match="is not an https address"):
            open_url(url)


def test_a_redirect_is_followed_only_within_the_scheme(site: Site, tmp_path: Path) -> None:
    site.answers["/b.bin"] = send(BODY, length=len(BODY))
    site.answers["/a.bin"] = send(b"", length=0, status=302, Location=f"{site.address}/b.bin")
    assert fetch(site.file("/a.bin"), tmp_path, say=lambda line: None, open_url=HTTP).read_bytes() == BODY
    site.answers["/c.bin"] = send(b"", length=0, status=302, Location="ftp://127.0.0.1/b.bin")
    refused(site.file("/c.bin"), tmp_path, "is not an http address")


def test_check_is_silent_about_a_file_of_which_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(BODY)
    check(RemoteFile("a.bin", None), tmp_path / "a.bin")
    with pytest.raises(SourceError, match="expected 7"):
        check(RemoteFile("a.bin", None, size=7), tmp_path / "a.bin")


# archives


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


FILE = RemoteFile("s.zip", None, members=(("s/titles", "titles"), ("s/events", "events")))


def test_only_the_members_asked_for_are_unpacked(tmp_path: Path) -> None:
    path = zipped(tmp_path / "s.zip", **{"s/titles": b"t", "s/events": b"e", "s/other": b"o"})
    unpack(FILE, path, tmp_path / "out")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == {"titles": b"t", "events": b"e"}


@pytest.mark.parametrize("name", ["../evil", "s/../../evil", "/evil", "..\\evil", "C:\\evil", "C:evil"])
def test_an_archive_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "s.zip", **{"s/titles": b"t", "s/events": b"e", name: b"!"})
    with pytest.raises(SourceError, match="points outside its folder"):
        unpack(FILE, path, tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == [path]


def test_an_archive_without_a_member_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "s.zip", **{"s/titles": b"t"})
    with pytest.raises(SourceError, match="has no 's/events'"):
        unpack(FILE, path, tmp_path / "out")
    assert not (tmp_path / "out" / "events").exists()


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "s.zip", **{"s/titles": b"t", "s/events": b"0" * 5000})
    with pytest.raises(SourceError, match=r"'s/events' in .* unpacks to 5,000 bytes, more than 100"):
        unpack(FILE, path, tmp_path / "out", limit=100)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["titles"]


def test_an_archive_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "s.zip", **{"s/titles": b"t", "s/events": b"0" * 5000})
    size, small = (5000).to_bytes(4, "little"), (50).to_bytes(4, "little")
    assert path.read_bytes().count(size) == 2
    path.write_bytes(path.read_bytes().replace(size, small))
    with pytest.raises(SourceError, match="is not a whole zip archive"):
        unpack(FILE, path, tmp_path / "out", limit=100)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["titles"]


def test_a_damaged_archive_leaves_no_events(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "s.zip", **{"s/titles": b"t", "s/events": BODY})
    data = whole.read_bytes()
    start = data.index(b"s/events") + len(b"s/events")
    whole.write_bytes(data[:start] + bytes(40) + data[start + 40 :])
    with pytest.raises(SourceError, match="is not a whole zip archive"):
        unpack(FILE, whole, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["titles"]
    whole.write_bytes(data[:-30])
    with pytest.raises(SourceError, match="is not a whole zip archive"):
        unpack(FILE, whole, tmp_path / "out")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.zip").write_bytes(io.BytesIO(b"<html>").getvalue())
    with pytest.raises(SourceError, match="is not a whole zip archive"):
        unpack(FILE, tmp_path / "s.zip", tmp_path / "out")
