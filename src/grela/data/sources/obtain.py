"""Find a data set where it may lie, or get it from its publisher, or say how to put it there."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from grela.data.sources.archive import unpack
from grela.data.sources.catalogue import SOURCES, lookup
from grela.data.sources.fetch import OpenUrl, check, fetch, url_opener
from grela.data.sources.places import VARIABLE, Found, cache_home, data_home, find, find_archive, folders
from grela.data.sources.source import Counts, DataSet, Say, Source
from grela.data.vocabulary import RawId
from grela.errors import SourceError


def load(
    name: str,
    *,
    folder: Path | None = None,
    say: Say,
    environ: Mapping[str, str] = os.environ,
    open_url: OpenUrl | None = None,
) -> DataSet:
    """The data set of that name, found or gotten.

    folder: the folder that holds the set's files, instead of the search in `$GRELA_DATA` and the cache
    say: receives lines for a human: the terms (once per cache) and where the files come from
    Raises SourceError, with what to download and where to put it, if the set cannot be had.
    """
    source = lookup(name)
    found = _obtain(source, folder, say, environ, open_url)
    _say_terms_once(source, say)
    if len(found.events) != found.layout.parts:
        raise SourceError(
            f"{found.folder} holds {len(found.events):,} of the {found.layout.parts:,} files {found.layout.events} "
            f"of {source.name}; add the others.\n{instructions(source, found.folder)}"
        )
    titles: dict[RawId, str] = {}
    if found.titles is not None and found.layout.read_titles is not None:
        titles = found.layout.read_titles(found.titles)
    elif found.layout.titles is not None:
        say(f"{found.folder} has no {found.layout.titles}: items go by their ids, not by titles")
    return DataSet(source.name, found.layout.read(found.events), found.folder, source.terms, titles)


def get(
    name: str,
    *,
    folder: Path | None = None,
    say: Say,
    environ: Mapping[str, str] = os.environ,
    open_url: OpenUrl | None = None,
) -> Path:
    """The folder with the set's files, downloaded if they are nowhere yet; into `folder` if it is given."""
    source = lookup(name)
    place = _look(source, [folder] if folder else folders(source, environ), folder, say)
    found = place or _download(source, folder or _cache(source), say, environ, open_url)
    _say_terms_once(source, say)
    return found.folder


def _obtain(
    source: Source, folder: Path | None, say: Say, environ: Mapping[str, str], open_url: OpenUrl | None
) -> Found:
    if folder is None:
        found = _look(source, folders(source, environ), None, say)
        return found or _download(source, _cache(source), say, environ, open_url)
    found = _look(source, [folder], None, say)
    if found is None:
        raise SourceError(f"{folder} holds no files of {source.name}.\n{instructions(source, folder)}")
    return found


def _cache(source: Source) -> Path:
    return cache_home() / source.folder_name


def _look(source: Source, places: list[Path], unpack_into: Path | None, say: Say) -> Found | None:
    for place in places:
        if found := find(source, place):
            say(f"{source.name}: {found.folder}")
            return found
    for place in places:
        if archive := find_archive(source, place):
            file, path = archive
            check(file, path)
            target = unpack_into or _cache(source)
            say(f"{source.name}: unpacking {path} into {target}")
            unpack(file, path, target)
            return find(source, target)
    return None


def _download(
    source: Source, target: Path, say: Say, environ: Mapping[str, str], open_url: OpenUrl | None
) -> Found:
    try:
        _download_files(source, target, say, open_url or url_opener())
    except SourceError as error:
        if source.substitute is None:
            raise SourceError(f"{error}\n{instructions(source, _home(source, environ))}") from error
        say(f"{error}")
        try:
            source.substitute(target, say)
        except SourceError as second:
            raise SourceError(
                f"{error}\n{second}\n{instructions(source, _home(source, environ))}"
            ) from second
    found = find(source, target)
    if found is None:
        raise SourceError(f"{target} still lacks files of {source.name}.\n{instructions(source, target)}")
    say(f"{source.name}: {found.folder}")
    return found


def _home(source: Source, environ: Mapping[str, str]) -> Path:
    return data_home(environ) / source.folder_name


def _download_files(source: Source, target: Path, say: Say, open_url: OpenUrl) -> None:
    reachable = [file for file in source.files if file.url is not None]
    if not reachable:
        raise SourceError(f"{source.name} is nowhere on this machine, and no program can download it")
    for file in reachable:
        if (target / file.name).is_file():
            continue
        path = fetch(file, target, say=say, open_url=open_url)
        if file.members:
            unpack(file, path, target)
            path.unlink()


def instructions(source: Source, folder: Path) -> str:
    """What to download, from which page, and where to put it."""
    files = [file for file in source.files if file.members or file.url] or list(source.files)
    names = [f"  {file.name}  {file.url or file.origin}".rstrip() for file in files]
    return "\n".join(
        [
            f"To have {source.name}, download from {source.publisher_url}",
            *names,
            f"and put what you downloaded into {folder}",
            f"(or into {source.folder_name}/ in a folder of data sets that the environment variable {VARIABLE} names)",
            *([f"Note: {source.note}"] if source.note else []),
            f"Terms: {source.licence}",
        ]
    )


def _say_terms_once(source: Source, say: Say) -> None:
    marker = cache_home() / "terms" / source.folder_name
    if marker.is_file():
        return
    say(source.terms)
    try:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text(source.terms + "\n", encoding="utf-8")
    except OSError as error:
        say(f"(these terms will be shown again: {marker} cannot be written: {error})")


@dataclass(frozen=True)
class Row:
    """A line of the catalogue: counts as published, and the folder where the set is now, if it is."""

    name: str
    title: str
    counts: Counts
    licence: str
    folder: Path | None
    variants: tuple[str, ...]

    @property
    def here(self) -> str:
        """The folder, or "not here"."""
        return str(self.folder) if self.folder else "not here"


def listing(environ: Mapping[str, str] = os.environ) -> list[Row]:
    """Every set of the catalogue; nothing is downloaded or unpacked."""
    return [
        Row(s.name, s.title, s.counts, s.licence, _where(s, environ), s.variants) for s in SOURCES.values()
    ]


def _where(source: Source, environ: Mapping[str, str]) -> Path | None:
    parts = [source] if source.variant is None else [source.variant(v) for v in source.variants]
    for part in parts:
        for folder in folders(part, environ):
            if found := find(part, folder):
                return found.folder
            if archive := find_archive(part, folder):
                return archive[1].parent
    return None
