"""Download a file over https: bounded, checked, and under its name only when it is whole."""

import hashlib
import http.client
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from grela.data.sources.source import RemoteFile, Say
from grela.errors import SourceError

TIMEOUT = 10.0  # seconds to connect, and for each read
BLOCK = 1 << 20
REPORT_EVERY = 100 * 10**6  # bytes

OpenUrl = Callable[[str], Any]  # what comes back has read(n), headers and close(), as of urllib


class _OnlyScheme(urllib.request.HTTPRedirectHandler):
    def __init__(self, scheme: str) -> None:
        self.scheme = scheme

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _check_scheme(newurl, self.scheme)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url: str, scheme: str) -> None:
    if urlsplit(url).scheme != scheme:
        raise SourceError(f"{url} is not an {scheme} address, and nothing else is followed")


def url_opener(scheme: str = "https", timeout: float = TIMEOUT) -> OpenUrl:
    """A function that opens addresses of one scheme, redirects included, and refuses all others."""
    opener = urllib.request.build_opener(_OnlyScheme(scheme))

    def open_url(url: str) -> Any:
        _check_scheme(url, scheme)
        request = urllib.request.Request(url, headers={"User-Agent": "grela"})  # noqa: S310 (scheme is checked)
        return opener.open(request, timeout=timeout)

    return open_url


def fetch(file: RemoteFile, folder: Path, *, say: Say, open_url: OpenUrl) -> Path:
    """Download `file` into `folder` and return its path; SourceError if it cannot be had whole and unchanged.

    The bytes go to a temporary `*.part` file, which is renamed after size and checksum were found right and
    removed otherwise.
    """
    if file.url is None:
        raise SourceError(f"{file.name} has no address to download from")
    target = folder / file.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=target.parent, prefix=f"{target.name}.", suffix=".part", delete=False
        ) as part:
            path = Path(part.name)
            try:
                _transfer(file, file.url, part, say, open_url)
                part.close()
                check(file, path)
                path.chmod(0o644)
                path.replace(target)
            finally:
                path.unlink(missing_ok=True)
    except (OSError, http.client.HTTPException) as error:
        raise SourceError(f"{file.url} cannot be downloaded: {_reason(error)}") from error
    return target


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__


def _transfer(file: RemoteFile, url: str, part: IO[bytes], say: Say, open_url: OpenUrl) -> None:
    with open_url(url) as response:
        expected = _length(response.headers)
        limit = file.size or file.limit
        if expected is not None and expected > limit:
            raise SourceError(f"{url} is {expected:,} bytes, expected at most {limit:,}; nothing was kept")
        total = f" of {expected / 1e6:,.1f}" if expected else ""
        say(f"downloading {url}" + (f" ({expected / 1e6:,.1f} MB)" if expected else ""))
        done = 0
        while block := response.read(BLOCK):
            part.write(block)
            if done // REPORT_EVERY != (done + len(block)) // REPORT_EVERY:
                say(f"  {file.name}: {(done + len(block)) / 1e6:,.0f}{total} MB")
            done += len(block)
            if done > limit:
                raise SourceError(f"{url} sends more than {limit:,} bytes; nothing was kept")
    if expected is not None and done != expected:
        raise SourceError(
            f"{url} broke off after {done:,} of {expected:,} bytes; nothing was kept, try again"
        )


def _length(headers: Message) -> int | None:
    text = headers.get("Content-Length")
    return int(text) if text and text.isdigit() else None


def check(file: RemoteFile, path: Path) -> None:
    """Raise SourceError unless the file at `path` has the size and the checksum that are known of `file`."""
    if file.size is not None and path.stat().st_size != file.size:
        raise SourceError(
            f"{file.name} has {path.stat().st_size:,} bytes, expected {file.size:,}; download it again"
        )
    for algorithm, expected in (("sha256", file.sha256), ("md5", file.md5)):
        if expected is not None:
            got = _digest(path, algorithm)
            if got != expected:
                raise SourceError(
                    f"{file.name} has {algorithm} {got}, expected {expected}: it is damaged or was changed; "
                    "it is not used, download it again"
                )


def _digest(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
