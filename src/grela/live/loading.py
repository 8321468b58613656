"""From a run's folder to a model that is served, and its histories into a new store's log."""

from collections.abc import Callable, Iterator
from pathlib import Path

from grela.live.ids import canonical
from grela.live.served import Served
from grela.models.forms import Kernels
from grela.recommender import Recommender
from grela.serving.compiled_stepper import choose_stepper
from grela.store.protocol import NewEvent, Store

Progress = Callable[[int, int], None]
Change = Callable[[Recommender], Recommender]


def load_served(run: Path) -> Served:
    """The run's model, ready; RunError, ModelError or ConfigError if it cannot be served."""
    return served_of(Recommender.load(run, device="cpu"))


def change_items(run: Path, change: Change) -> None:
    """Write into the run's folder what `change` adds to its catalogue or removes from it.

    CatalogueError for what cannot be added or removed; RunError where the folder was changed meanwhile.
    """
    change(Recommender.load(run, device="cpu")).save_items(run)


def served_of(recommender: Recommender) -> Served:
    """A recommender, ready; ConfigError for a bidirectional model."""
    kernels: Kernels = "torch" if recommender.facts.config.training.kernels == "torch" else "auto"
    return Served.of(recommender, choose_stepper(recommender.model, kernels))


def seed(store: Store, recommender: Recommender, progress: Progress) -> int:
    """Import the run's histories into a log that has none; returns the events logged by this call.

    From then on the log alone is the truth, under this and any later model. An interrupted import goes on.
    progress: called with (users done, users in all)
    """
    if store.seeded() is not None:
        return 0
    return store.seed(recommender.facts.fingerprint, _histories(recommender, progress))


def _histories(recommender: Recommender, progress: Progress) -> Iterator[tuple[str, list[NewEvent]]]:
    histories = recommender.split.histories
    items = [str(raw) for raw in histories.catalogue.ids.to_pylist()]
    users = histories.users.ids.to_pylist()
    for number, raw in enumerate(users):
        progress(number, len(users))
        pairs = zip(histories[number].tolist(), histories.times_of(number).tolist(), strict=True)
        yield (
            canonical(raw, integers=histories.users.integers),
            [NewEvent(items[dense - 1], time) for dense, time in pairs],
        )
    progress(len(users), len(users))
