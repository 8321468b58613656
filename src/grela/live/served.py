"""A run as it is served: its model, its catalogue as text, and what is shown to whom nothing is known of."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from grela.live.ids import Clock
from grela.live.jobs import Listed, Wanted
from grela.recommender import Recommender
from grela.serving.codec import StateCodec
from grela.serving.ranking import Candidates, TopList
from grela.serving.state import Events
from grela.serving.stepper import Stepper
from grela.store.protocol import LoggedEvent

# N items


class Shown(msgspec.Struct, frozen=True):
    """An item of a list."""

    item: str
    title: str | None
    score: float


@dataclass(frozen=True, eq=False)
class Served:
    """What the service needs of a run; never changed, another takes its place when a model is loaded anew.

    items:       canonical text of each item, by dense id - 1;  dense: the reverse, ids from 1
    titles:      likewise, None where an item has none
    fallback:    float32 [N], scores for a history without events: popularity
    shown:       bool [N], the items that may be recommended: those that were removed may not
    filter_seen: whether items of the history are left out where a request does not say
    """

    stepper: Stepper
    codec: StateCodec
    items: list[str]
    dense: dict[str, int]
    titles: list[str | None]
    fallback: np.ndarray
    shown: np.ndarray
    filter_seen: bool
    clock: Clock
    integer_users: bool
    integer_items: bool

    @staticmethod
    def of(recommender: Recommender, stepper: Stepper) -> "Served":
        """ConfigError for a bidirectional model, which has no state that could follow events."""
        model, histories = recommender.model, recommender.split.histories
        raws = histories.catalogue.ids.to_pylist()
        items = [str(raw) for raw in raws]
        shown = np.full(len(items), True)
        shown[histories.removed - 1] = False
        return Served(
            stepper,
            StateCodec(model),
            items,
            {item: number for number, item in enumerate(items, 1)},
            [recommender.titles.get(raw) for raw in raws],
            recommender.train_counts[1:].astype(np.float32),
            shown,
            model.repeats is None,
            Clock(histories.time_unit, histories.times.dtype.kind == "i"),
            histories.users.integers,
            histories.catalogue.integers,
        )

    @property
    def fingerprint(self) -> str:
        """Of the model's weights and shape, which its states carry."""
        return self.codec.fingerprint

    def title(self, item: str) -> str | None:
        """The title of an item, None where it has none or is not known to this model."""
        dense = self.dense.get(item)
        return None if dense is None else self.titles[dense - 1]

    def known(self, history: Sequence[LoggedEvent]) -> Events:
        """The events whose items this model knows, in the order given."""
        pairs = [(dense, event.time) for event in history if (dense := self.dense.get(event.item))]
        return self.timed([dense for dense, _ in pairs], [time for _, time in pairs])

    def timed(self, dense: list[int], times: list[int | float]) -> Events:
        """Dense items and their times, as arrays of the log's types."""
        return Events(
            np.array(dense, np.int32), np.array(times, np.int64 if self.clock.whole else np.float64)
        )

    def candidates(self, wanted: Wanted) -> Candidates:
        """What may be shown. Items that this model does not know are passed over."""
        filter_seen = self.filter_seen if wanted.filter_seen is None else wanted.filter_seen
        if wanted.allow is None and not wanted.exclude:
            return Candidates(self.shown, filter_seen)
        allow = None if wanted.allow is None else self._dense(wanted.allow)
        chosen = Candidates.of(len(self.items), allow, self._dense(wanted.exclude), filter_seen=filter_seen)
        return Candidates(chosen.allowed & self.shown, filter_seen)

    def _dense(self, items: Sequence[str]) -> np.ndarray:
        return np.array([dense for item in items if (dense := self.dense.get(item))], np.int64)

    def listed(self, top: TopList, *, cold_start: bool) -> Listed:
        """The list as JSON."""
        shown = [
            Shown(self.items[dense - 1], self.titles[dense - 1], score)
            for dense, score in zip(top.items.tolist(), top.scores.tolist(), strict=True)
        ]
        return Listed(cold_start, msgspec.json.encode(shown))
