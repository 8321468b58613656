"""A prepared log in parts: a folder with the histories of a share of the users in each file, and one catalogue.

histories-00003-of-00016.parquet   user, items (dense), times: a row a user, users in the order of their raw ids
items.parquet                      item: row j is dense item j + 1, in the order of the raw ids
manifest.json                      what is below; written last, so a folder without it is none

A user is in the part that the first 15 hexadecimal digits of the MD5 of the id's UTF-8 give, modulo the number of
parts; an integer's text is its decimal form.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from grela.data.filtering import Counts, Step
from grela.data.preparation import Preparation, PreparationReport
from grela.errors import DataError, GrelaError

MANIFEST = "manifest.json"
ITEMS = "items.parquet"
FORMAT = 1


@dataclass(frozen=True)
class PartFile:
    """A part's file: name, users and events in it, SHA-256 of its bytes."""

    file: str
    users: int
    events: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What the folder holds.

    preparation: the settings that the log was prepared with; time_unit: as of `Events`
    report: what the log held and what each step dropped
    items: the catalogue's file (`users` and `events` 0)
    parts: in their order
    """

    preparation: Preparation
    time_unit: str
    report: PreparationReport
    items: PartFile
    parts: tuple[PartFile, ...]

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON's own types."""
        return {"format": FORMAT, **asdict(self), "report": self.report.to_json()}


def part_name(part: int, of: int, kind: str = "histories") -> str:
    """The file's name of part number `part`, counted from 0."""
    return f"{kind}-{part:05}-of-{of:05}.parquet"


def is_in_parts(path: Path) -> bool:
    """Whether a folder in parts is there."""
    return (path / MANIFEST).is_file()


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest in one rename."""
    fresh = folder / f"{MANIFEST}.part"
    fresh.write_text(json.dumps(manifest.to_json(), indent=2) + "\n", encoding="utf-8")
    os.replace(fresh, folder / MANIFEST)


def read_manifest(folder: Path) -> Manifest:
    """What the folder holds; DataError where the manifest is missing, damaged or of another version."""
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise DataError(f"{path} is of another version of grela; shard the log again with this one")
        return Manifest(
            Preparation(**values["preparation"]),
            str(values["time_unit"]),
            _report(values["report"]),
            PartFile(**values["items"]),
            tuple(PartFile(**one) for one in values["parts"]),
        )
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, GrelaError) as error:
        raise DataError(
            f"{path} is no manifest of a log in parts: {error!r}; restore it, or shard the log again"
        ) from error


def _report(values: dict[str, Any]) -> PreparationReport:
    steps = [
        Step(one["name"], one["detail"], Counts(**one["before"]), Counts(**one["after"]))
        for one in values["steps"]
    ]
    return PreparationReport(values["name"], Counts(**values["read"]), tuple(steps))
