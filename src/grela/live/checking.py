"""From what a request says to a job for the engine: canonical ids, known items, times of the log, numbers in bounds."""

from collections.abc import Sequence
from dataclasses import dataclass

from grela.catalogue import NewItem
from grela.data.vocabulary import RawId
from grela.errors import RefusedError
from grela.live.bodies import Choice, Event, EventsBody, HistoryBody, NewItemsBody
from grela.live.ids import checked_id, checked_title, in_order
from grela.live.jobs import Follow, Happened, Suggest, Wanted
from grela.live.limits import Limits
from grela.live.served import Served


@dataclass(frozen=True, eq=False)
class Checker:
    """What may be asked of one model within the limits. Its methods raise RefusedError, which says what to do."""

    served: Served
    limits: Limits

    def follow(self, body: EventsBody) -> Follow:
        """The events as a job, with a list for each of their users if any are wanted."""
        if not 1 <= len(body.events) <= self.limits.events:
            raise RefusedError(
                f"{len(body.events):,} events, expected 1 to {self.limits.events:,} in one request; send several"
            )
        events = tuple(self._event(event, f"event {place}") for place, event in enumerate(body.events))
        if body.recommend is None:
            return Follow(events)
        users = tuple(dict.fromkeys(event.user for event in events))
        wanted = self.wanted(body.recommend)
        if len(users) * wanted.k > self.limits.listed:
            raise RefusedError(
                f"lists of {wanted.k:,} items for {len(users):,} users, expected {self.limits.listed:,} items in all "
                "at most; ask for shorter lists, or in several requests"
            )
        return Follow(events, users, wanted)

    def suggest(self, body: HistoryBody) -> Suggest:
        """A history as a job."""
        if len(body.history) > self.limits.history:
            raise RefusedError(
                f"history has {len(body.history):,} items, expected {self.limits.history:,} at most; send the latest"
            )
        times = None
        if body.times is not None:
            if len(body.times) != len(body.history):
                raise RefusedError(
                    f"times has {len(body.times):,} entries for the {len(body.history):,} items of history, expected "
                    "one for each"
                )
            clock = self.served.clock
            times = tuple(clock.checked(time, f"times, place {at}") for at, time in enumerate(body.times))
            in_order(times, "times")
        return Suggest(self._items(body.history, "history"), times, self.wanted(body))

    def wanted(self, choice: Choice) -> Wanted:
        """How a list is to be."""
        if not 1 <= choice.k <= self.limits.k:
            raise RefusedError(f"k is {choice.k}, expected 1 to {self.limits.k:,}")
        allow = None if choice.allow is None else self._listed(choice.allow, "allow")
        return Wanted(choice.k, choice.filter_seen, allow, self._listed(choice.exclude, "exclude"))

    def new_items(self, body: NewItemsBody) -> list[NewItem]:
        """Items to be added, as the library takes them; what they are like is checked there."""
        if not 1 <= len(body.items) <= self.limits.new_items:
            raise RefusedError(
                f"{len(body.items):,} items, expected 1 to {self.limits.new_items:,} in one request; send several"
            )
        return [
            NewItem(
                item=self.item_id(one.item, f"item {place}"),
                like=one.like,
                title=None
                if one.title is None
                else checked_title(one.title, f"item {place}: title", longest=self.limits.title_length),
                bias=one.bias,
            )
            for place, one in enumerate(body.items)
        ]

    def item_id(self, raw: RawId, what: str = "item") -> str:
        """An item's id as canonical text; it need not be known."""
        return checked_id(raw, what, integers=self.served.integer_items, longest=self.limits.id_length)

    def user(self, raw: RawId, what: str = "user") -> str:
        """A user's id as canonical text; any user may be named, known or new."""
        return checked_id(raw, what, integers=self.served.integer_users, longest=self.limits.id_length)

    def _event(self, event: Event, where: str) -> Happened:
        time = event.time
        if time is not None:
            time = self.served.clock.checked(time, f"{where}: time")
        if event.id is not None:
            checked_id(event.id, f"{where}: id", integers=False, longest=self.limits.id_length)
        return Happened(
            self.user(event.user, f"{where}: user"), self._item(event.item, f"{where}: item"), time, event.id
        )

    def _listed(self, raws: Sequence[RawId], name: str) -> tuple[str, ...]:
        if len(raws) > self.limits.listed:
            raise RefusedError(f"{name} has {len(raws):,} items, expected {self.limits.listed:,} at most")
        return self._items(raws, name)

    def _items(self, raws: Sequence[RawId], name: str) -> tuple[str, ...]:
        return tuple(self._item(raw, f"{name}, place {place}") for place, raw in enumerate(raws))

    def _item(self, raw: RawId, what: str) -> str:
        served = self.served
        item = self.item_id(raw, what)
        if item not in served.dense:
            raise RefusedError(
                f"{what} is {item!r}, which is not in the catalogue of {len(served.items):,} items; send a known one "
                "(GET /items finds them by title)"
            )
        return item
