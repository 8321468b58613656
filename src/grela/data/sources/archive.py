"""Take named members out of a zip archive that nobody needs to trust."""

import tempfile
import zipfile
import zlib
from pathlib import Path, PureWindowsPath
from typing import IO

from grela.data.sources.source import RemoteFile
from grela.errors import SourceError

MEMBER_LIMIT = 16 * 2**30  # bytes unpacked
BLOCK = 1 << 20


def unpack(file: RemoteFile, path: Path, folder: Path, *, limit: int = MEMBER_LIMIT) -> None:
    """Write the members that `file` names into `folder`, each whole or not at all, in their order.

    SourceError for an archive that is damaged, lacks a member, holds a member that leaves its folder or one
    that unpacks to more than `limit` bytes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_traversal(archive, path)
            folder.mkdir(parents=True, exist_ok=True)
            for member, name in file.members:
                _unpack_one(archive, member, folder / name, limit)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise SourceError(f"{path} is not a whole zip archive ({error}); download it again") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be unpacked into {folder}: {error}") from error


def _refuse_traversal(archive: zipfile.ZipFile, path: Path) -> None:
    for name in archive.namelist():
        # a Windows path splits at both slashes and knows drives, so it is the stricter reading
        member = PureWindowsPath(name)
        if member.drive or member.root or ".." in member.parts:
            raise SourceError(
                f"{path} holds {name!r}, which points outside its folder; the archive is not used"
            )


def _unpack_one(archive: zipfile.ZipFile, member: str, target: Path, limit: int) -> None:
    try:
        info = archive.getinfo(member)
    except KeyError as error:
        raise SourceError(
            f"{archive.filename} has no {member!r}; it is another edition than the catalogue's"
        ) from error
    if info.file_size > limit:
        raise SourceError(
            f"{member!r} in {archive.filename} unpacks to {info.file_size:,} bytes, more than {limit:,}"
        )
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix=f"{target.name}.", suffix=".part", delete=False
    ) as part:
        written = Path(part.name)
        try:
            with archive.open(info) as stream:
                _copy(stream, part, limit, member)
            part.close()
            written.chmod(0o644)
            written.replace(target)
        finally:
            written.unlink(missing_ok=True)


def _copy(stream: IO[bytes], part: IO[bytes], limit: int, member: str) -> None:
    done = 0
    while block := stream.read(BLOCK):
        done += len(block)
        if done > limit:
            raise SourceError(f"{member!r} unpacks to more than {limit:,} bytes; the archive is not used")
        part.write(block)
