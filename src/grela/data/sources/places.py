"""Where data sets lie: a folder named by the user, the user's cache, and how a set is recognised there."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from grela.data.sources.source import Layout, RemoteFile, Source
from grela.errors import SourceError

VARIABLE = "GRELA_DATA"


@dataclass(frozen=True)
class Found:
    """A data set's files: one or more of events, and of titles where there are any."""

    layout: Layout
    folder: Path
    events: tuple[Path, ...]
    titles: Path | None


def cache_home() -> Path:
    """The user's cache folder, the only one that downloads are written to unless a folder is given."""
    return platformdirs.user_cache_path("grela")


def data_home(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder with one folder per data set: `$GRELA_DATA` if set, else the user's cache folder."""
    named = environ.get(VARIABLE)
    return Path(named).expanduser() if named else cache_home()


def folders(source: Source, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Folders in which a set may lie, in the order in which they are searched."""
    home = data_home(environ)
    if environ.get(VARIABLE) and not home.is_dir():
        raise SourceError(f"{VARIABLE} is {home}, which is not a folder; create it or unset {VARIABLE}")
    homes = [home] if home == cache_home() else [home, cache_home()]
    return [h / source.folder_name for h in homes]


def find(source: Source, folder: Path) -> Found | None:
    """The set's files in a folder, or in a folder of the set's name within, as archives unpack; else None."""
    for place in (folder, folder / source.folder_name):
        for layout in source.layouts:
            events = tuple(sorted(p for p in place.glob(layout.events) if p.is_file()))
            if events:
                titles = place / layout.titles if layout.titles else None
                return Found(layout, place, events, titles if titles and titles.is_file() else None)
    return None


def find_archive(source: Source, folder: Path) -> tuple[RemoteFile, Path] | None:
    """An archive of the set that was put into the folder as it was downloaded; else None."""
    for file in source.files:
        if file.members and (folder / file.name).is_file():
            return file, folder / file.name
    return None
