"""Bodies of requests and answers, as JSON has them; the OpenAPI document is made from these."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from grela.live.limits import Limits

_LIMITS = Limits()

Id = Annotated[
    str | int,
    Meta(
        description=f"A raw id: text of 1 to {_LIMITS.id_length} characters without control characters, or an integer "
        "of 64 bits. Answers have ids as text."
    ),
]
Time = Annotated[
    int | float | str,
    Meta(
        description="In the unit of the run's log; ISO 8601 as well where the log has dates (UTC without a zone)."
    ),
]
Count = Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": _LIMITS.k, "default": 10})]
Ids = Annotated[list[Id], Meta(extra_json_schema={"maxItems": _LIMITS.listed})]


class Event(Struct, forbid_unknown_fields=True):
    """Something that happened. Without a time: now. With an id, sending it again changes nothing."""

    user: Id
    item: Id
    time: Time | None = None
    id: Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": _LIMITS.id_length})] | None = None


class Choice(Struct, forbid_unknown_fields=True):
    """How a list is to be: k items, of `allow` only, none of `exclude`, and whether none of the history.

    Without filter_seen, items of the history are left out where the model has not learnt what they are worth.
    """

    k: Count = 10
    filter_seen: bool | None = None
    allow: Ids | None = None
    exclude: Ids = []


class EventsBody(Struct, forbid_unknown_fields=True):
    """Events to be logged, all or none, and how lists for their users are to be, if any are wanted."""

    events: Annotated[list[Event], Meta(extra_json_schema={"minItems": 1, "maxItems": _LIMITS.events})]
    recommend: Choice | None = None


class HistoryBody(Choice, forbid_unknown_fields=True, kw_only=True):
    """A history, oldest first, with the times of its items if they are known, and how its list is to be."""

    history: Annotated[list[Id], Meta(extra_json_schema={"maxItems": _LIMITS.history})]
    times: Annotated[list[Time], Meta(extra_json_schema={"maxItems": _LIMITS.history})] | None = None


class NewItem(Struct, forbid_unknown_fields=True):
    """An item that the model does not know, which is to begin like known ones: all alike, or with a weight each.

    bias: the logarithm of the share of all events that it is expected to have, instead of what comes of the others.
    """

    item: Id
    like: Annotated[list[Id] | dict[str, float], Meta(extra_json_schema={"minItems": 1, "minProperties": 1})]
    title: Annotated[str, Meta(extra_json_schema={"maxLength": _LIMITS.title_length})] | None = None
    bias: float | None = None


class NewItemsBody(Struct, forbid_unknown_fields=True):
    """Items to be added, all or none."""

    items: Annotated[list[NewItem], Meta(extra_json_schema={"minItems": 1, "maxItems": _LIMITS.new_items})]


class Item(Struct):
    """An item of the catalogue."""

    item: str
    title: str | None


class Recommended(Item):
    """An item of a list, with the model's score."""

    score: float


class Result(Struct):
    """What became of an event. added: false if an event with this id was there before."""

    user: str
    added: bool


class EventsAnswer(Struct):
    """A result for each event; a list for each of their users, best first, if they were wanted."""

    results: list[Result]
    recommendations: dict[str, list[Recommended]] | UnsetType = UNSET


class ListAnswer(Struct):
    """A list, best first. cold_start: nothing is known of the history, so these are the most popular items."""

    recommendations: list[Recommended]
    cold_start: bool


class UserListAnswer(ListAnswer):
    """A user's list."""

    user: str


class PastEvent(Item):
    """An event of a user's history; its title is null also where the model does not know the item."""

    time: int | float


class HistoryAnswer(Struct):
    """The latest events of a user, newest last; `length`: how many there are in all.

    time_unit: "us" for microseconds since 1970 UTC, or "given" for the log's own numbers; an event that came without
    a time has seconds since 1970 then.
    """

    user: str
    events: list[PastEvent]
    length: int
    time_unit: str


class Reading(Struct):
    """How likely an item is to be the next one, as the logarithm of p over the catalogue, and its place, from 1."""

    log_probability: float
    place: int


class ExplainedItem(Recommended):
    """An item of a list, by the model as it is, and with either branch left out of all layers at the last event.

    item_bias: what its own bias adds to its logit, above the catalogue's mean; repeat_bias: what its having been met
    adds.
    """

    chance: Reading
    without_long_term: Reading
    without_short_term: Reading
    item_bias: float
    repeat_bias: float


class ExplainedLayer(Struct):
    """A layer at the last event: shares of its two branches in the energy behind its gate, and the gate's mean |G|.

    The shares are null where nothing passed the gate.
    """

    layer: int
    long_term: float | None
    short_term: float | None
    gate: float


class ExplanationAnswer(Struct):
    """What a user's list owes to what; without layers where the model knows nothing of the user."""

    user: str
    events: int
    layers: list[ExplainedLayer]
    items: list[ExplainedItem]


class KnownUser(Struct):
    """A user with events."""

    user: str


class UsersAnswer(Struct):
    """Users whose ids begin with a text, in order; whole: whether there are no others."""

    users: list[KnownUser]
    whole: bool


class ItemsAnswer(Struct):
    """Items found, the more popular first."""

    items: list[Item]


class DeletedAnswer(Struct):
    """How many events were deleted with the user."""

    user: str
    deleted: int


class ModelAnswer(Struct):
    """The fingerprint of the model that is served from now on."""

    model: str


class ChangedItemsAnswer(ModelAnswer):
    """The items that were added or removed, and the fingerprint of the model that is served from now on."""

    items: list[str]


class StatusAnswer(Struct):
    """How the service is."""

    status: str


class ErrorAnswer(Struct):
    """What was got, what was expected, and what to do."""

    error: str


# The same answers as they are encoded: lists come from the engine as JSON.


class EncodedEventsAnswer(Struct):
    results: list[Result]
    recommendations: dict[str, msgspec.Raw] | UnsetType = UNSET


class EncodedListAnswer(Struct):
    recommendations: msgspec.Raw
    cold_start: bool


class EncodedUserListAnswer(EncodedListAnswer):
    user: str
