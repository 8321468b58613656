"""A user's session: a state that follows each event, and what it recommends."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grela.data.histories import Histories
from grela.data.vocabulary import RawId
from grela.errors import RequestError
from grela.serving.recommendation import Recommendation, shown
from grela.serving.request import candidates, checked_k, event_time, known_items
from grela.serving.state import UserState
from grela.serving.stepper import Stepper, recommend_to

# N items


@dataclass(frozen=True, eq=False)
class Shop:
    """What all sessions of one recommender share.

    fallback: float32 [N], the scores of a user without events: popularity
    filter_seen: whether items met are left out where a call does not say
    """

    stepper: Stepper
    histories: Histories
    titles: dict[RawId, str]
    fallback: np.ndarray
    filter_seen: bool


class Session:
    """One user, from an empty state or a known one on. An event costs the same however many came before it.

    Not for several threads at a time. Make one by `Recommender.session`.
    """

    def __init__(self, shop: Shop, user: RawId, state: UserState) -> None:
        self.user = user
        self._shop = shop
        self._state = state

    @property
    def events(self) -> int:
        """How many events the state has seen."""
        return self._state.events

    @property
    def state(self) -> UserState:
        """The state as it is now; a copy, which later events do not change."""
        return self._state.copy()

    def add(self, item: RawId, time: int | float | str | None = None) -> None:
        """One more event: a raw item, and when, in the unit of the log or in ISO 8601 where it has dates.

        Without a time, the gaps around the event are unknown to the model. Raises RequestError for an item that is
        not in the catalogue, or a time before the last event's; the session is as before then.
        """
        shop, last = self._shop, self._state.last_time
        (dense,) = known_items([item], "item", shop.histories)
        when = None if time is None else event_time(time, "time", shop.histories)
        if when is not None and last is not None and when < last:
            raise RequestError(
                f"time is {when}, before the last event's, {last}: a session takes events in order; make a new "
                "one from the whole history"
            )
        self._state = shop.stepper.step(self._state, int(dense), when)

    def recommend(
        self,
        k: int = 10,
        *,
        allow: Sequence[RawId] | None = None,
        exclude: Sequence[RawId] = (),
        filter_seen: bool | None = None,
    ) -> Recommendation:
        """The k best items now, as `Recommender.recommend` gives them for the same history; arguments as there."""
        shop = self._shop
        filters = shop.filter_seen if filter_seen is None else filter_seen
        chosen = candidates(shop.histories, allow, exclude, filter_seen=filters)
        (top,) = recommend_to(shop.stepper, shop.fallback, [self._state], chosen, checked_k(k))
        items = shown(top, shop.histories.catalogue, shop.titles)
        return Recommendation(self.user, items, [], cold_start=not self._state.events)
