"""What the engine is asked to do and what it answers. Plain values: they also travel between worker processes."""

import msgspec


class Happened(msgspec.Struct, array_like=True, frozen=True):
    """An event to be logged: user and item as canonical text, time in the log's unit or None for now."""

    user: str
    item: str
    time: int | float | None = None
    id: str | None = None


class Wanted(msgspec.Struct, array_like=True, frozen=True):
    """How a list is to be: k items at most, of `allow` (None: of all), none of `exclude`, as canonical text.

    filter_seen: no item of the history; None leaves that to the model.
    """

    k: int
    filter_seen: bool | None = None
    allow: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()


class Follow(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """Log `events`, all or none of them, then make a list for each of `users`."""

    events: tuple[Happened, ...]
    users: tuple[str, ...] = ()
    wanted: Wanted | None = None

    @property
    def size(self) -> int:
        return len(self.events) + len(self.users)


class Suggest(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """Make a list for a history that is not logged: items oldest first; times in order, or None for unknown."""

    items: tuple[str, ...]
    times: tuple[int | float, ...] | None
    wanted: Wanted

    @property
    def size(self) -> int:
        return 1 + len(self.items)


class Forget(msgspec.Struct, array_like=True, frozen=True, tag=3):
    """Delete a user's events and state."""

    user: str

    @property
    def size(self) -> int:
        return 1


Job = Follow | Suggest | Forget


class Listed(msgspec.Struct, array_like=True, frozen=True):
    """A list, as JSON: [{"item", "title", "score"}, ...]; `cold_start`: the most popular items, nothing is known."""

    cold_start: bool
    items: bytes


class Answer(msgspec.Struct, array_like=True, frozen=True):
    """What became of a job: for each event whether it was new, for each user or history a list; events forgotten."""

    added: tuple[bool, ...] = ()
    lists: tuple[Listed, ...] = ()
    forgotten: int = 0
