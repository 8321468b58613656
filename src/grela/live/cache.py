"""Users' states in memory, those used last, within a number of bytes."""

from collections import OrderedDict
from dataclasses import dataclass

from grela.serving.state import UserState
from grela.store.protocol import Position

# What an entry costs beside its arrays: their headers, the key, the entry, its place in the dictionary.
OVERHEAD = 1_000


@dataclass(slots=True)
class Followed:
    """A user's state after the events up to `position`; `saved`: the store has it too."""

    state: UserState
    position: Position
    saved: bool


class StateCache:
    """At most `limit` bytes of states, as long as `overflow` is called; what was used longest ago goes first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._entries: OrderedDict[str, tuple[Followed, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, user: str) -> Followed | None:
        """The user's entry, which counts as used now."""
        found = self._entries.get(user)
        if found is None:
            return None
        self._entries.move_to_end(user)
        return found[0]

    def put(self, user: str, followed: Followed) -> None:
        """Take the place of what was there; a state that has grown is put again, to be counted."""
        self.drop(user)
        size = _bytes(followed.state) + OVERHEAD
        self._entries[user] = (followed, size)
        self.bytes += size

    def drop(self, user: str) -> None:
        """Forget the user's entry, where there is one."""
        found = self._entries.pop(user, None)
        if found is not None:
            self.bytes -= found[1]

    def drop_those_that_skipped(self) -> None:
        """Forget states that have not seen all logged events, since the model did not know their items."""
        entries = [(user, one) for user, (one, _) in self._entries.items()]
        for user, one in entries:
            if one.state.events < one.position.seq:
                self.drop(user)

    def overflow(self) -> list[tuple[str, Followed]]:
        """Remove entries until the rest is within the limit; returns those that the store has not."""
        return self._remove(self.limit)

    def empty(self) -> list[tuple[str, Followed]]:
        """Remove all entries; returns those that the store has not."""
        return self._remove(0)

    def _remove(self, limit: int) -> list[tuple[str, Followed]]:
        unsaved = []
        while self._entries and self.bytes > limit:
            user, (followed, size) = self._entries.popitem(last=False)
            self.bytes -= size
            if not followed.saved:
                unsaved.append((user, followed))
        return unsaved


def _bytes(state: UserState) -> int:
    return state.recurrent.nbytes + state.met.table.nbytes
