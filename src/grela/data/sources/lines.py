"""Text files of one record a line that only Python can parse: numbered lines of bounded length."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from grela.errors import ReadError

LIMIT = 1 << 20  # bytes of a line


def numbered_lines(path: Path, *, encoding: str = "utf-8", limit: int = LIMIT) -> Iterator[tuple[int, str]]:
    """1-based line numbers and lines without their ends; lines of white space alone are passed over.

    A name that ends in .gz is gunzipped. ReadError, with file and line, for a line of more than `limit`
    bytes, one that is not text in `encoding`, or an archive that breaks off.
    """
    number = 0
    try:
        with _open(path) as stream:
            while raw := stream.readline(limit + 1):
                number += 1
                if len(raw) > limit:
                    raise ReadError(f"{path}, line {number} is longer than {limit:,} bytes")
                line = raw.decode(encoding).rstrip("\r\n")
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise ReadError(f"{path}, line {number} is not {encoding} text: {error.reason}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ReadError(f"{path} cannot be read after line {number}: {error}; download it again") from error


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")
