"""What is recommended, in raw ids."""

from collections.abc import Mapping
from dataclasses import dataclass

from grela.data.vocabulary import RawId, Vocabulary
from grela.serving.ranking import TopList


@dataclass(frozen=True)
class Recommended:
    """One recommended item: its raw id, its title where there is one, and the model's score."""

    item: RawId
    title: str | None
    score: float


@dataclass(frozen=True)
class Recommendation:
    """What is recommended to one user or history, best first.

    user: the raw id, or None for a history given as items
    unknown: items of the given history that are not in the catalogue and were skipped
    cold_start: nothing of the history is known, so the most popular items are recommended
    """

    user: RawId | None
    items: list[Recommended]
    unknown: list[RawId]
    cold_start: bool


def shown(top: TopList, catalogue: Vocabulary, titles: Mapping[RawId, str]) -> list[Recommended]:
    """A list of dense items as it is shown."""
    raws = catalogue.decode(top.items)
    return [
        Recommended(raw, titles.get(raw), float(score)) for raw, score in zip(raws, top.scores, strict=True)
    ]
