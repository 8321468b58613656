"""What of a user's list comes from where: the log up to the last event anew, and that event read three times."""

from collections.abc import Sequence

from grela.data.histories import HistoryBatch
from grela.errors import RefusedError
from grela.live.bodies import ExplainedItem, ExplainedLayer, ExplanationAnswer, Reading
from grela.live.jobs import Wanted
from grela.live.served import Served
from grela.serving.explanation import Chance, Explanation, explain
from grela.serving.state import Events
from grela.store.protocol import LoggedEvent


def explanation(
    served: Served, user: str, history: Sequence[LoggedEvent], wanted: Wanted, *, longest: int
) -> ExplanationAnswer:
    """The answer for a user with these events, oldest first; without one that the model knows there are no layers.

    RefusedError for more than `longest` events: each explanation reads all of them.
    """
    if len(history) > longest:
        raise RefusedError(
            f"the history has {len(history):,} events, expected {longest:,} at most: explaining reads all of it again"
        )
    events = served.known(history)
    if not len(events.items):
        return ExplanationAnswer(user, len(history), [], [])
    earlier = HistoryBatch.of([events.items[:-1]], [events.times[:-1]])
    (before,) = served.stepper.rebuild(earlier)
    last = Events(events.items[-1:], events.times[-1:])
    found = explain(served.stepper, before, last, served.candidates(wanted), wanted.k)
    return ExplanationAnswer(user, len(history), _layers(found), _items(found, served))


def _layers(found: Explanation) -> list[ExplainedLayer]:
    # A share of no energy at all is NaN, which JSON has not.
    return [
        ExplainedLayer(
            layer.layer,
            None if layer.attention != layer.attention else layer.attention,
            None if layer.local != layer.local else layer.local,
            layer.gate_open,
        )
        for layer in found.layers
    ]


def _items(found: Explanation, served: Served) -> list[ExplainedItem]:
    return [
        ExplainedItem(
            served.items[item.item - 1],
            served.titles[item.item - 1],
            item.score,
            chance=_reading(item.chance),
            without_long_term=_reading(item.without_long_term),
            without_short_term=_reading(item.without_short_term),
            item_bias=item.item_bias,
            repeat_bias=item.repeat_bias,
        )
        for item in found.items
    ]


def _reading(chance: Chance) -> Reading:
    return Reading(chance.log_probability, chance.place)
