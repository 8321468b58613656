"""A text file as blocks of whole lines: UTF-8, no NUL, no endless line, every block knowing its first line number."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grela.data.readers.files import disguise, opened
from grela.errors import EmptyDataError, ReadError

BLOCK_BYTES = 4 << 20
LINE_LIMIT = 16 << 20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Block:
    """Whole lines of UTF-8, each ended by one line feed; `first` is the number of the first, from 1."""

    data: bytes
    first: int

    @property
    def num_lines(self) -> int:
        return self.data.count(b"\n")


def text_blocks(path: Path, *, latin_1: bool = False) -> Iterator[Block]:
    """The file's lines in order, in blocks of about `BLOCK_BYTES`; blank lines at the end of the file are left out.

    CR LF becomes LF, and a byte order mark at the start is skipped. `latin_1` reads the file as latin-1 if, and
    only if, the whole of it is not UTF-8. Raises ReadError (naming the line) on bytes that are not UTF-8, NUL bytes,
    or `LINE_LIMIT` bytes without the end of a line; EmptyDataError if there is nothing but blank lines.
    """
    recode = latin_1 and not _all_utf8(path)
    first = 1
    for lines in _whole_lines(path):
        data = lines.replace(b"\r\n", b"\n")
        if recode:
            data = data.decode("latin-1").encode()
        _refuse_nul(path, data, first)
        _refuse_inner_mark(path, data, first)
        _refuse_bad_utf8(path, data, first)
        yield Block(data, first)
        first += data.count(b"\n")
    if first == 1:
        raise EmptyDataError(f"{path} holds nothing but blank lines; expected rows")


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Runs of whole lines. Line feeds at a run's end, but one, wait for the next run: at the file's end they go."""
    pending = b""
    start, line = True, 1
    with opened(path) as file:
        while part := file.read(BLOCK_BYTES):
            if start:
                part, start = _after_mark(path, part), False
            pending += part
            ready, pending = _cut(pending)
            if ready:
                yield ready
                line += ready.count(b"\n")
            if len(pending) > LINE_LIMIT:
                _refuse_nul(path, pending, line)
                raise ReadError(
                    f"{path}, line {line}: this line, or a run of blank lines from here, is longer than {LINE_LIMIT} "
                    f"bytes (it begins {pending[:40]!r}); is this the text file it should be?"
                )
    if pending.strip(b"\r\n"):
        yield pending + b"\n"


def _cut(text: bytes) -> tuple[bytes, bytes]:
    """Up to the end of the last line that is not blank, and the rest."""
    end = text.rfind(b"\n") + 1
    content = len(text[:end].rstrip(b"\r\n"))
    if content == 0:
        return b"", text
    end = text.index(b"\n", content) + 1
    return text[:end], text[end:]


def _after_mark(path: Path, head: bytes) -> bytes:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ReadError(f"{path} is UTF-16, expected UTF-8; convert it: iconv -f utf-16 -t utf-8")
    if what := disguise(head):
        raise ReadError(f"{path} looks like {what}")
    return head.removeprefix(_BOM)


def _refuse_nul(path: Path, data: bytes, first: int) -> None:
    position = data.find(b"\0")
    if position >= 0:
        line = first + data.count(b"\n", 0, position)
        raise ReadError(
            f"{path}, line {line}: a NUL byte, expected UTF-8 text; is it a damaged or binary file, or UTF-16?"
        )


def _refuse_inner_mark(path: Path, data: bytes, first: int) -> None:
    position = 0 if data.startswith(_BOM) else data.find(b"\n" + _BOM) + 1
    if data.startswith(_BOM, position):
        line = first + data.count(b"\n", 0, position)
        raise ReadError(
            f"{path}, line {line}: a byte order mark inside the file, expected it at the start only; "
            f"were files with headers joined? Join their rows without it"
        )


def _refuse_bad_utf8(path: Path, data: bytes, first: int) -> None:
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = first + data.count(b"\n", 0, error.start)
        raise ReadError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; convert the file to UTF-8, "
            f"for example: iconv -f latin1 -t utf-8 (if all of it is latin-1)"
        ) from error


def _all_utf8(path: Path) -> bool:
    for lines in _whole_lines(path):
        try:
            lines.decode()
        except UnicodeDecodeError:
            return False
    return True
