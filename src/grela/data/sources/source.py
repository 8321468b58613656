"""What the catalogue knows of a data set, and the form in which a data set comes out of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grela.data.events import Events
from grela.data.vocabulary import RawId

Say = Callable[[str], None]


@dataclass(frozen=True)
class RemoteFile:
    """A file at its publisher.

    url: https address, or None where the publisher asks for a login, a form or has withdrawn the file
    md5, sha256: hexadecimal digest where the publisher or several independent users state it
    size: bytes, where known; otherwise `limit` bounds what is accepted
    origin: how a person gets it, where there is no address
    members: for a zip archive, (member, name in the data set's folder), in the order in which they are
        unpacked; the events come last, so that they are there only if all else is
    """

    name: str
    url: str | None
    md5: str | None = None
    sha256: str | None = None
    size: int | None = None
    limit: int = 64 * 2**30
    origin: str = ""
    members: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Layout:
    """One way in which a data set lies in its folder.

    events: path in the folder, or a glob pattern that matches several files
    read: events of the files found, in sorted order
    parts: how many files of events make the whole set
    titles, read_titles: path of the titles in the folder, and their reader; None where there are none
    """

    events: str
    read: Callable[[Sequence[Path]], Events]
    titles: str | None = None
    read_titles: Callable[[Path], dict[RawId, str]] | None = None
    parts: int = 1


@dataclass(frozen=True)
class Counts:
    """Users, items and events as published, by the publisher or by who counted its files; None if not known."""

    users: int | None
    items: int | None
    events: int | None


@dataclass(frozen=True)
class Source:
    """A catalogued data set.

    publisher_url: the page that describes it and its terms
    files: what to download; layouts: what may then lie in the folder, the preferred one first
    substitute: writes the files into a folder from elsewhere when the publisher cannot be reached
    variants: names that may follow a slash (`yambda/50m`); then only a variant can be read
    note: what a user of the data should know
    """

    name: str
    title: str
    publisher_url: str
    licence: str
    citation: str
    counts: Counts
    files: tuple[RemoteFile, ...] = ()
    layouts: tuple[Layout, ...] = ()
    substitute: Callable[[Path, Say], None] | None = None
    variants: tuple[str, ...] = ()
    variant: "Callable[[str], Source] | None" = None
    note: str = ""

    @property
    def folder_name(self) -> str:
        """The folder of this set in a data home; the variants of a set share one."""
        return self.name.partition("/")[0]

    @property
    def terms(self) -> str:
        """Licence, page and citation, in lines for a human."""
        return f"{self.title}: {self.licence}\n{self.publisher_url}\nCite: {self.citation}"


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set that is here.

    titles: raw item id to title; empty where the publisher gives none
    folder: where its files lie
    """

    name: str
    events: Events
    folder: Path
    terms: str
    titles: dict[RawId, str] = field(default_factory=dict)
