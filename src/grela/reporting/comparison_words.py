"""What the figures of a comparison allow to be said, and what they do not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

from grela.reporting.text import counted, listed, name

if TYPE_CHECKING:
    from grela.reporting.comparison import ComparedModel, ComparisonData


@dataclass(frozen=True)
class Standing:
    """The best model of a view, how many of the others it is shown to surpass, and which not."""

    best: "ComparedModel"
    others: int
    level: Sequence[str]

    @property
    def words(self) -> str:
        if not self.others:
            return "No other model to compare with."
        if not self.level:
            return (
                f"Shown to be above {'the other model' if self.others == 1 else f'all {self.others} others'}."
            )
        alone = f"No difference shown from {listed(self.level)}."
        surpassed = self.others - len(self.level)
        return f"Shown to be above {surpassed} of {self.others} others. {alone}" if surpassed else alone

    def leads(self, model: str) -> bool:
        """Whether it is the best, or no difference from the best is shown."""
        return model == self.best.name or model in self.level


def standing(data: "ComparisonData", view: str) -> Standing | None:
    """How the best model by NDCG@10 stands; None where no model was measured."""
    if not data.models:
        return None
    best = max(data.models, key=lambda model: model.ndcg(view)[0])
    pairs = [pair for pair in data.pairs[view] if best.name in (pair.a, pair.b)]
    level = [pair.b if pair.a == best.name else pair.a for pair in pairs if not pair.shown]
    return Standing(best, len(pairs), level)


def seeds(data: "ComparisonData") -> str:
    """How many seeds the trained models have."""
    numbers = sorted({len(model.seeds) for model in data.models if model.trained})
    if not numbers:
        return "no trained model"
    return counted(numbers[0], "seed") if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} seeds"


def cautions(data: "ComparisonData") -> list[str]:
    """What cannot be told from this comparison, a sentence or two each."""
    return [*_of_differences(data), *_of_seeds(data), *_of_training(data), *_of_costs(data)]


def _of_differences(data: "ComparisonData") -> Iterator[str]:
    if len(data.models) > 1:
        yield (
            "Where no difference is shown, the models may still differ: these users are too few to tell. It does not "
            "mean that they are equal."
        )
        yield (
            "One data set and one split decide nothing about others. Differences by length of history are not tested; "
            "they describe these users."
        )
    if data.failed:
        yield f"{counted(len(data.failed), 'run')} failed and {'is' if len(data.failed) == 1 else 'are'} in no figure."


def _of_seeds(data: "ComparisonData") -> Iterator[str]:
    trained = [model for model in data.models if model.trained]
    numbers = {len(model.seeds) for model in trained}
    if trained and min(numbers) == 1:
        single = [model.name for model in trained if len(model.seeds) == 1]
        who = "every trained model" if len(single) == len(trained) else listed(single)
        yield (
            f"There is one seed of {who}: how much another would change is not known, and a difference may be that "
            "seed's."
        )
    if trained and max(numbers) > 1:
        yield (
            "Intervals and tests are over users, of the mean of each model's seeds. They speak of other users like "
            "these, not of other seeds, whose values are drawn faintly."
        )
    if len(numbers) > 1:
        most = max(numbers)
        fewer = [f"{name(m.name)} ({len(m.seeds)})" for m in trained if len(m.seeds) < most]
        yield f"Not all have the {most} seeds of the others: {', '.join(fewer)}."


def _of_training(data: "ComparisonData") -> Iterator[str]:
    trained = [model for model in data.models if model.trained]
    unfinished = [
        m.name for m in trained if any(best == of for best, of in zip(m.best_epochs, m.epochs, strict=True))
    ]
    if unfinished:
        who = "every trained model" if len(unfinished) == len(trained) else listed(unfinished)
        yield f"The budget may have ended too early for {who}: with a seed or more, the last epoch was the best."
    if trained and not data.trials:
        yield (
            "No setting was tuned on these data: each model has the settings listed under Models, which may suit one "
            "better than another."
        )
    if len({view for view, _ in (model.valid for model in data.models)}) > 1:
        yield (
            "Validation values are of the view that chose the epoch, which is not the same for all: compare them "
            "within a view only."
        )


def _of_costs(data: "ComparisonData") -> Iterator[str]:
    if not data.models:
        return
    if not data.machines:
        yield "The machine was not recorded: times and memory can be compared with each other, not with elsewhere."
    elif len(data.machines) > 1:
        yield (
            f"The runs were made on {len(data.machines)} machines or versions that differ (see Protocol): their times "
            "and memory are not strictly comparable."
        )
    if any(isnan(model.peak_bytes) for model in data.models):
        yield "Peak memory of some runs is not known: their system does not tell it."
