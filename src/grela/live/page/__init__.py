"""The page that shows a service at work: files in this folder, served as they are, nothing from anywhere else."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

CONTENT_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class PageFile:
    """One file as the answer to a GET: its bytes, its type, and the other headers it goes out with."""

    body: bytes
    content_type: str
    headers: dict[str, str]


@cache
def page_files() -> dict[str, PageFile]:
    """Every file by its path on the server: the page itself at "/", what it loads below "/page/".

    They hold no secret: a server that wants a token serves them without it, and the page asks its reader for one.
    """
    found = {}
    for file in sorted(files(__name__).iterdir(), key=lambda file: file.name):
        kind = CONTENT_TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            path = "/" if file.name == "index.html" else f"/page/{file.name}"
            found[path] = PageFile(file.read_bytes(), kind, HEADERS)
    return found
