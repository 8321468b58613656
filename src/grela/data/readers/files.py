"""Files on disk: there, readable, of a known format, gzip or not; every failure told as a ReadError."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from grela.errors import EmptyDataError, ReadError

_MAGIC = {
    b"\x1f\x8b": "gzip data; name it .gz",
    b"PK\x03\x04": "a zip archive; unpack it",
    b"PAR1": "Parquet; name it .parquet or say so with format=",
    b"BZh": "bzip2 data; unpack it",
    b"\xfd7zXZ": "xz data; unpack it",
    b"\x28\xb5\x2f\xfd": "zstd data; unpack it",
}


def checked_path(source: str | Path) -> Path:
    """The path of a file that is there, can be read and is not empty; else ReadError or EmptyDataError."""
    path = Path(source)
    try:
        if path.is_dir():
            raise ReadError(
                f"{path} is a folder; give the file in it that holds the data, or make one log of all its files with "
                "`grela data shard`"
            )
        with path.open("rb") as file:
            if not file.read(1):
                raise EmptyDataError(f"{path} is empty (0 bytes); expected a header and rows")
    except FileNotFoundError:
        raise ReadError(f"{path} does not exist; check the path") from None
    except ValueError as error:
        raise ReadError(f"{str(path)!r} is not a path: {error}") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    return path


def _unreadable(path: Path, error: OSError) -> ReadError:
    return ReadError(f"{path} cannot be read: {error.strerror or error}; check its permissions and the disk")


def is_gzip(path: Path) -> bool:
    """Whether the name ends in .gz."""
    return path.name.lower().endswith(".gz")


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked if its name ends in .gz. Read failures inside the block become ReadError."""
    try:
        with gzip.open(path, "rb") if is_gzip(path) else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except EOFError as error:
        raise ReadError(
            f"{path}: the gzip data ends too early, the file is truncated; get it again"
        ) from error
    except gzip.BadGzipFile as error:
        raise ReadError(
            f"{path}: not gzip data, damaged, or followed by something else ({error}); get it again, "
            f"or take .gz off its name if it is not packed"
        ) from error
    except zlib.error as error:
        raise ReadError(f"{path}: the gzip data is damaged ({error}); get it again") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def disguise(head: bytes) -> str | None:
    """What the first bytes of a text file betray it to be instead, and what to do; None if nothing."""
    return next((what for magic, what in _MAGIC.items() if head.startswith(magic)), None)
