"""The facade: fit on a log of events, evaluate, recommend, save and load."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from grela import run_folder
from grela.catalogue import (
    Features,
    ItemChanges,
    NewItem,
    additions,
    as_trained,
    joined,
    removals,
    with_changes,
)
from grela.configuration import Config
from grela.continuing import Parent, must_not_test_the_known
from grela.data.histories import Cases, HistoryBatch
from grela.data.joining import joined as joined_events
from grela.data.splitting import Part, Split, train_item_counts
from grela.data.vocabulary import RawId, Vocabulary
from grela.errors import ConfigError, DataError, RequestError, RunError
from grela.evaluation.evaluate import evaluate
from grela.evaluation.evaluation import Evaluation
from grela.evaluation.popularity import Popularity
from grela.fitting import (
    must_be_trainable,
    must_have_kernels,
    must_have_ranks,
    pick_device,
    prepared,
    sized,
    train,
    whole_log,
)
from grela.item_changes import read_item_changes, write_item_changes
from grela.models.forms import TORCH, Kernels, choose_form
from grela.models.io import save_model, saved_digest
from grela.models.new_items import with_rows, without_added
from grela.models.recgrela import RecGRELA
from grela.models.start import Start, must_be_alike
from grela.results import evaluation_json, write_results
from grela.run_data import read_data, read_model, write_data
from grela.run_folder import RunFacts
from grela.serving.approximate import PROBES, ApproximateIndex
from grela.serving.compiled_stepper import choose_stepper
from grela.serving.lists import recommend
from grela.serving.parquet import write_lists
from grela.serving.ranking import TopList, blocks
from grela.serving.recommendation import Recommendation, shown
from grela.serving.request import History, Times, asked, candidates, checked_k, dense_users, known_user
from grela.serving.scorer import ModelScorer
from grela.serving.session import Session, Shop
from grela.training.checkpoint import remove_checkpoints
from grela.training.listener import Listener, Silence
from grela.training.loop import METRICS, write_metrics
from grela.training.ranks import ALONE, Ranks


class Recommender:
    """A fitted model with its catalogue and histories. Make one with `Recommender.fit` or `Recommender.load`."""

    def __init__(
        self,
        model: RecGRELA,
        split: Split,
        facts: RunFacts,
        *,
        titles: dict[RawId, str],
        epochs: list[dict[str, Any]],
    ) -> None:
        self.model = model
        self.split = split
        self.facts = facts
        self.titles = titles
        self.epochs = epochs
        self.changes = ItemChanges.none(model.config.width)
        self._saved_changes: str | None = None
        self.train_counts = train_item_counts(split)
        # PyTorch scores the same, so nothing waits for a compiler here.
        torch_alone = facts.config.training.kernels == "torch"
        form = TORCH if torch_alone else choose_form(model, "auto", compile_now=False)
        self.scorer = ModelScorer(model, window=facts.config.training.window, form=form)

    @classmethod
    def fit(
        cls,
        events: Any,
        *,
        config: Config | None = None,
        titles: Mapping[RawId, str] | None = None,
        out: Path | str | None = None,
        start_from: Path | str | None = None,
        listener: Listener | None = None,
        device: str = "auto",
        command: str = "Recommender.fit",
        ranks: Ranks = ALONE,
    ) -> "Recommender":
        """Prepare `events`, train, and return the recommender with the weights of the best epoch.

        events: a path, a data frame (see `read_events`), `Events`, or a folder that `grela data shard` wrote
        titles: a title for each raw item id, where there are any
        out: a run folder; training leaves checkpoints there, and goes on from them when called again with
            the same events and settings. Without it nothing is written.
        start_from: a run folder, whose settings (where `config` is not given), events and weights this fit begins
            with; `events` are new ones, or all there are. docs/items.md says what comes of it
        device: "auto" (CUDA where there is one), "cpu" or "cuda"
        command: what the report says made it
        ranks: the processes that train together, all of which call this with the same events and settings, see
            docs/distributed.md; they know their devices. Rank 0 alone tells, evaluates and writes

        Raises DataError for bad events, ConfigError for bad settings, RunError for a folder of another run,
        RanksError where ranks do not agree or lose one another.
        """
        listener = listener if listener is not None and ranks.first else Silence()
        parent = None if start_from is None else cls.load(start_from, device="cpu")
        config = config or (Config() if parent is None else parent.facts.config)
        titles = {} if titles is None else titles
        if not isinstance(config, Config):
            raise ConfigError(
                f"config is a {type(config).__name__}, expected a grela.Config; make one, or read_config"
            )
        if not isinstance(titles, Mapping):
            raise DataError(f"titles is a {type(titles).__name__}, expected a dict from raw item id to title")
        said: list[str] = []
        if parent is not None and start_from is not None:
            must_be_alike(config.model, parent.facts.config.model)
            both = joined_events(parent.split.histories, whole_log(events), name=str(start_from))
            events, titles = both.events, {**parent.titles, **titles}
            said = [
                f"starts from {start_from}: {both.new:,} new events, {both.repeated:,} that it has already"
            ]
        histories, report, config = prepared(events, config)
        split = config.split.apply(histories)
        if parent is not None and start_from is not None:
            said += must_not_test_the_known(parent.split, split, Path(start_from))
        config = sized(config, split)
        must_be_trainable(split, config)
        where = ranks.device or pick_device(device)
        must_have_kernels(config, where)
        must_have_ranks(config, ranks)
        facts = RunFacts(
            config=config,
            fingerprint=split.fingerprint,
            time_unit=histories.time_unit,
            source=report.name,
            prepared=[*said, *report.lines()],
            split_report=split.report().lines(),
            command=command,
            parent=None if parent is None or start_from is None else parent._as_parent(Path(start_from)),
        )
        folder = None if out is None else Path(out)
        ranks.must_agree(run_folder.flat(config.to_json()) | {"the data's fingerprint": split.fingerprint})
        if folder is not None and ranks.agreed(ranks.first and run_folder.claim(folder, facts)):
            listener.notice(f"the run in {folder} is already finished")
            return cls.load(folder, device=device)
        for line in (*facts.prepared, *facts.split_report):
            listener.notice(line)
        start = None if parent is None else Start(parent.model, parent._dense(histories.catalogue))
        model, epochs = train(
            split, config, folder=folder, listener=listener, device=where, start=start, ranks=ranks
        )
        fitted = cls(model, split, facts, titles=_of_catalogue(titles, split), epochs=epochs)
        if parent is not None:
            fitted = fitted._with_changes_of(parent, listener)
        if titles and not fitted.titles:
            listener.notice(
                f"none of the {len(titles):,} titles is of an item of the log: items go by their ids"
            )
        if folder is not None and ranks.first:
            write_results(
                folder,
                facts=facts,
                scorer=fitted.scorer,
                split=split,
                titles=fitted.titles,
                epochs=epochs,
                evaluation=fitted.evaluate(),
                floor=fitted.evaluate_popularity(),
            )
            fitted.save(folder)
            remove_checkpoints(folder)
        return fitted

    def evaluate(
        self, part: Part = "test", *, progress: Callable[[int, int], None] | None = None
    ) -> Evaluation:
        """Full ranking on the held-out events of `part` ("test" or "valid"), seen items filtered and not."""
        return evaluate(self.scorer, self._cases(part), train_counts=self.train_counts, progress=progress)

    def evaluation_json(self, part: Part = "test") -> dict[str, Any]:
        """`evaluate` and the popularity floor as JSON's own types, with the split and its fingerprint."""
        return evaluation_json(
            self.evaluate(part),
            self.evaluate_popularity(part),
            part=part,
            split=self.split.kind,
            fingerprint=self.split.fingerprint,
        )

    def evaluate_popularity(self, part: Part = "test") -> Evaluation:
        """The same measurement of the floor: the most popular items of training, for everybody."""
        floor = Popularity(self.train_counts)
        return evaluate(floor, self._cases(part), train_counts=self.train_counts)

    def recommend(
        self,
        who: Sequence[RawId | History],
        *,
        k: int = 10,
        times: Sequence[Times | None] | None = None,
        allow: Sequence[RawId] | None = None,
        exclude: Sequence[RawId] = (),
        filter_seen: bool | None = None,
        approximate: ApproximateIndex | None = None,
    ) -> list[Recommendation]:
        """The k best items for each of `who`: raw ids of known users, or histories as lists of raw items.

        A known user's whole history counts, held-out events included. times: for each of `who` when its items
        were met (numbers in the unit of the log, or ISO 8601 where it has dates), or None; a model that reads
        gaps takes them as unknown without. allow: recommend among these items only; exclude: never these;
        filter_seen: nor items of the history, which is left to a model that has learnt what repeats are worth
        (`model.repeats`) unless you say. approximate: an index of `approximate_index`, for catalogues of millions of
        items, whose lists may miss some; without it they are exact. Unknown items of a history are skipped and
        reported. Raises RequestError for an unknown user, an unknown item in `allow` or `exclude`, times that do not
        fit, or k below 1.
        """
        histories = self.split.histories
        request = asked(who, times, histories)
        chosen = candidates(histories, allow, exclude, filter_seen=self._filters(filter_seen))
        k = checked_k(k)
        tops: list[TopList] = []
        for part in blocks(len(request.histories)):
            batch = HistoryBatch.of(request.histories[part], request.times[part])
            tops += recommend(self.scorer, self._fallback, batch, chosen, k, index=approximate)
        return [
            Recommendation(
                user, shown(top, histories.catalogue, self.titles), unknown, cold_start=not len(history)
            )
            for user, top, unknown, history in zip(
                request.users, tops, request.unknown, request.histories, strict=True
            )
        ]

    def approximate_index(self, *, probes: int = PROBES) -> ApproximateIndex:
        """An index for `recommend(..., approximate=)` over this recommender's items, in memory; see docs/items.md.

        probes: lists that a query looks into; more find more and take longer. Raises ConfigError where the extra
        `approximate` is not installed.
        """
        return ApproximateIndex.of(self.model, probes=probes)

    def session(self, user: RawId) -> Session:
        """A session of one user, to be continued event by event: a known user's history, or an empty one for a new id.

        What is added to a session is in no other and is not saved. Raises ConfigError for a bidirectional model,
        RequestError for what is no id.
        """
        histories = self.split.histories
        dense, raw = known_user(user, histories)
        if dense is None:
            return Session(self._shop, raw, self._shop.stepper.empty())
        one = np.array([dense])
        h = histories
        history = HistoryBatch(h.items, h.times, h.offsets[one], h.offsets[one + 1])
        (state,) = self._shop.stepper.rebuild(history)
        return Session(self._shop, raw, state)

    def recommend_to_parquet(
        self,
        path: Path | str,
        *,
        users: Sequence[RawId] | None = None,
        k: int = 10,
        filter_seen: bool | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Write user, rank (from 1), item, score for every user (or `users`) to Parquet; returns the rows.

        Users go through in blocks, so memory does not grow with their number. The file appears when whole.
        """
        histories = self.split.histories
        dense = np.arange(len(histories)) if users is None else dense_users(users, histories)
        chosen = candidates(histories, None, (), filter_seen=self._filters(filter_seen))
        k = checked_k(k)
        return write_lists(
            Path(path), self.scorer, self._fallback, histories, dense, chosen, k, progress=progress
        )

    def save(self, folder: Path | str) -> None:
        """Write the run folder; `Recommender.load` reads it back."""
        folder = Path(folder)
        self.facts = replace(self.facts, finished=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            save_model(without_added(self.model), folder)
            write_data(folder, as_trained(self.split, len(self.changes.added)), self.titles)
            write_metrics(self.epochs, folder)
        except OSError as error:
            raise RunError(
                f"cannot write the run {folder}: {error.strerror or error}; make room and repeat"
            ) from error
        device = self.model.embedding.weight.device
        run_folder.write_json(
            folder / "environment.json", run_folder.environment(device, kernels=self.scorer.form.name)
        )
        run_folder.write_json(folder / run_folder.RUN, self.facts.to_json())
        if self.changes:
            self._saved_changes = None
            self.save_items(folder)

    def with_items(self, items: Sequence[NewItem], *, features: Features | None = None) -> "Recommender":
        """A recommender that knows more items, without training; this one is as before. docs/items.md says how.

        features: vectors of known items, all equally long, where new ones are given by theirs. Nothing is written:
        see `save_items`. Raises CatalogueError, naming the item, for whatever cannot be added.
        """
        more = additions(self.model, self.split.histories, items, features)
        return self._changed(more, self._saved_changes)

    def knows(self, item: RawId) -> bool:
        """Whether the item is in the catalogue, added and removed ones among them."""
        catalogue = self.split.histories.catalogue
        return bool(catalogue.encode([item])[0] != catalogue.unknown)

    def without_items(self, items: Sequence[RawId]) -> "Recommender":
        """A recommender that never recommends these items; histories that hold them are understood as before.

        Nothing is written: see `save_items`. Raises CatalogueError for an item that is unknown or was removed.
        """
        removed = removals(self.split.histories, items)
        return self._changed(
            replace(ItemChanges.none(self.model.config.width), removed=removed), self._saved_changes
        )

    def save_items(self, folder: Path | str) -> None:
        """Write what was added and removed into this run's folder, as item_changes.safetensors; nothing else there.

        Raises RunError for a folder of another run, or if the file there was changed since this run was loaded.
        """
        folder = Path(folder)
        facts = run_folder.read_facts(folder)
        if not facts.finished or facts.fingerprint != self.facts.fingerprint:
            raise RunError(f"{folder} is not the folder of this run, or unfinished; save the run there first")
        self._saved_changes = write_item_changes(
            folder, self.changes, model=saved_digest(folder), over=self._saved_changes
        )

    def _changed(self, more: ItemChanges, saved: str | None) -> "Recommender":
        changed = Recommender(
            with_rows(self.model, more.rows) if more.added else self.model,
            with_changes(self.split, more),
            self.facts,
            titles=self.titles | more.titles,
            epochs=self.epochs,
        )
        changed.changes, changed._saved_changes = joined(self.changes, more), saved
        return changed

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "auto") -> "Recommender":
        """Read a run folder; raises RunError or ModelError if it is unfinished, damaged or no run at all."""
        folder = Path(folder)
        facts = run_folder.finished_facts(folder)
        split, titles = read_data(folder, facts)
        model = read_model(folder, facts, split.histories.num_items)
        epochs = run_folder.read_metrics(folder)
        if not epochs:
            raise RunError(f"{folder / METRICS} has no epochs; restore it or fit again")
        trained = cls(model.to(pick_device(device)), split, facts, titles=titles, epochs=epochs)
        width = model.config.width
        changes, digest = read_item_changes(folder, model=saved_digest(folder), width=width)
        return trained._changed(changes, digest) if changes else trained

    def _as_parent(self, folder: Path) -> Parent:
        return Parent(str(folder), self.facts.fingerprint, saved_digest(folder), self._saved_changes)

    def _with_changes_of(self, parent: "Recommender", listener: Listener) -> "Recommender":
        """Without what was removed there; says which items were added there and have no events here."""
        gone = [raw for raw in parent.changes.added if not self.knows(raw)]
        if gone:
            listener.notice(
                f"{len(gone):,} items that were added to the run before have no events: add them again"
            )
        removed = [raw for raw in parent.changes.removed if self.knows(raw)]
        return self.without_items(removed) if removed else self

    def _dense(self, catalogue: Vocabulary) -> np.ndarray:
        """This run's dense item of each item of another catalogue, int64 [N]; 0 for those it does not know."""
        return self.split.histories.catalogue.encode(catalogue.ids.to_pylist())

    @cached_property
    def _shop(self) -> Shop:
        """What sessions share."""
        kernels: Kernels = "torch" if self.facts.config.training.kernels == "torch" else "auto"
        return Shop(
            choose_stepper(self.model, kernels, compile_now=False),
            self.split.histories,
            self.titles,
            self._fallback,
            self._filters(None),
        )

    @property
    def _fallback(self) -> np.ndarray:
        return self.train_counts[1:].astype(np.float32)

    def _filters(self, filter_seen: bool | None) -> bool:
        """Whether seen items are left out: as asked, else where the model does not score them by itself."""
        return self.model.repeats is None if filter_seen is None else filter_seen

    def _cases(self, part: Part) -> Cases:
        if part not in ("test", "valid"):
            raise RequestError(f"no part {part!r} of the split, expected 'test' or 'valid'")
        return self.split.cases(part)


def _of_catalogue(titles: Mapping[RawId, str], split: Split) -> dict[RawId, str]:
    """The titles of items of the log, by ids of its type: a file of titles may have "7" where the log has 7."""
    catalogue = split.histories.catalogue
    dense = catalogue.encode(titles)
    known = dense != catalogue.unknown
    texts = [text for text, here in zip(titles.values(), known.tolist(), strict=True) if here]
    return dict(zip(catalogue.decode(dense[known]), texts, strict=True))
