"""A fit that starts from another run: its events go on, its weights begin, and what is new is learnt."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from fit_cases import ITEMS, Ear, files_of, items, log, small_config, weights
from grela import NewItem, Recommender, SplitConfig
from grela.continuing import trained_on_already
from grela.errors import ConfigError, RunError
from grela.fitting import training_plan, untrained
from grela.models.start import Start

DAY, LAST = 86_400, 1_700_000_000 + 11 * 86_400
NEW_ITEM = 777


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A run that has learnt something."""
    out = tmp_path_factory.mktemp("runs") / "parent"
    config = small_config(training={"epochs": 8, "learning_rate": 0.02})
    return Recommender.fit(log(users=60), config=config, out=out), out


def later(*, new_item: bool = False, users: int = 60) -> pl.DataFrame:
    """Six more days: users go on counting; with `new_item`, one nobody has seen stands for item 505."""
    whole = log(users=users, length=18)
    found = whole.filter(pl.col("timestamp") > LAST)
    if not new_item:
        return found
    return found.with_columns(item_id=pl.when(pl.col("item_id") == 505).then(NEW_ITEM).otherwise("item_id"))


def test_it_begins_with_the_parents_accuracy(parent, tmp_path):
    """On the same events; what training starts with is the parent to the last bit."""
    before, folder = parent
    ear = Ear()
    child = Recommender.fit(log(users=60), start_from=folder, out=tmp_path / "child", listener=ear)
    valid = before.evaluate("valid").unfiltered["ndcg@10"]
    assert f"begins at a validation unfiltered ndcg@10 of {valid:.4f}" in ear.notices
    assert child.split.fingerprint == before.split.fingerprint
    assert any("0 new events, 720 that it has already" in notice for notice in ear.notices)
    config, split = child.facts.config, child.split
    start = Start(before.model, np.arange(1, ITEMS + 1))
    begun = untrained(config, training_plan(split, config).sequences, ITEMS, start)
    assert all(torch.equal(begun.state_dict()[name], value) for name, value in weights(before).items())


def test_it_goes_on_from_the_runs_events_and_says_where_it_came_from(parent, tmp_path):
    before, folder = parent
    kept = files_of(folder)
    child = Recommender.fit(later(), start_from=folder, out=tmp_path / "child")
    assert child.split.histories.num_events == before.split.histories.num_events + len(later())
    whole = Recommender.fit(pl.concat([log(users=60), later()]), start_from=folder)
    assert child.split.fingerprint == whole.split.fingerprint
    assert all(torch.equal(weights(whole)[name], value) for name, value in weights(child).items())
    said = Recommender.load(tmp_path / "child").facts.parent
    assert (said.run, said.fingerprint, said.items) == (str(folder), before.split.fingerprint, None)
    assert len(said.weights) == 64
    assert files_of(folder) == kept
    assert (
        child.evaluate("valid").unfiltered["ndcg@10"]
        > child.evaluate_popularity("valid").unfiltered["ndcg@10"]
    )


def test_settings_are_the_runs_unless_given(parent):
    before, folder = parent
    child = Recommender.fit(later(), start_from=folder)
    assert child.facts.config == before.facts.config
    settings = replace(before.facts.config, training=replace(before.facts.config.training, epochs=1))
    assert len(Recommender.fit(later(), start_from=folder, config=settings).epochs) == 1


def test_a_new_item_is_learnt_and_the_others_are_matched_by_their_ids(parent):
    """Item 777 sorts after all others; another new one, 3, before all, so that every dense id is another."""
    before, folder = parent
    first = pl.DataFrame({"user_id": [100] * 3, "item_id": [3] * 3, "timestamp": [LAST + 9 * DAY] * 3})
    events = pl.concat([later(new_item=True), first.cast(later().schema)])
    config = replace(before.facts.config, training=replace(before.facts.config.training, epochs=12))
    child = Recommender.fit(events, start_from=folder, config=config)
    assert child.split.histories.num_items == ITEMS + 2
    dense = child.split.histories.catalogue.encode([500, 3, NEW_ITEM])
    start = Start(before.model, before._dense(child.split.histories.catalogue))
    begun = untrained(config, training_plan(child.split, config).sequences, ITEMS + 2, start)
    table = begun.embedding.weight
    assert torch.equal(table[dense[0]], before.model.embedding.weight[1])
    assert table[dense[1]].norm() < 0.3
    counts = child.train_counts[1:]
    expected = np.log1p(counts[dense[2] - 1]) - np.log((counts + 1).sum())
    assert begun.item_bias.weight[dense[2], 0].item() == pytest.approx(expected, rel=1e-5)
    (found,) = child.recommend([[501, 502, 503, 504]], k=5, filter_seen=True)
    assert NEW_ITEM in items(found)
    (never,) = before.recommend([[501, 502, 503, 504]], k=100)
    assert NEW_ITEM not in items(never)


def test_it_goes_on_where_it_was_interrupted(parent, tmp_path):
    _, folder = parent

    class Stop(Ear):
        def epoch(self, report) -> None:
            if report.epoch == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Recommender.fit(later(), start_from=folder, out=tmp_path / "broken", listener=Stop())
    resumed = Recommender.fit(later(), start_from=folder, out=tmp_path / "broken")
    unbroken = Recommender.fit(later(), start_from=folder)
    assert all(torch.equal(weights(resumed)[name], value) for name, value in weights(unbroken).items())


def test_a_folder_of_another_start_is_refused(parent, tmp_path):
    before, folder = parent
    Recommender.fit(later(), start_from=folder, out=tmp_path / "child")
    with pytest.raises(RunError, match=r"it started from .*, not anew"):
        Recommender.fit(
            pl.concat([log(users=60), later()]), config=before.facts.config, out=tmp_path / "child"
        )
    before.save(tmp_path / "elsewhere")
    ear = Ear()
    Recommender.fit(later(), start_from=tmp_path / "elsewhere", out=tmp_path / "child", listener=ear)
    assert ear.notices[-1].endswith("is already finished")
    before.with_items([NewItem(item=901, like=[505])]).save(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="or that run has changed"):
        Recommender.fit(later(), start_from=tmp_path / "elsewhere", out=tmp_path / "child")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"width": 16}, "model.width is 16, but 8 there"),
        ({"layers": 2, "gate": False}, "model.layers is 2, but 1 there; model.gate is False, but True there"),
        ({"next_gaps": 0}, "model.next_gaps is 0, but 4 there"),
        ({"after_next": 0.0}, r"model.after_next is 0.0, but 0.3 there"),
        ({"form": "bidirectional"}, "model.form is 'bidirectional', but 'causal' there"),
    ],
)
def test_a_run_of_another_shape_is_refused(parent, model, message):
    with pytest.raises(ConfigError, match=f"another shape: {message}.*train anew"):
        Recommender.fit(later(), start_from=parent[1], config=small_config(model=model))


def test_what_is_dropped_in_training_may_differ(parent):
    settings = {"dropout": 0.5, "drop_path": 0.1, "after_next": 0.7}
    child = Recommender.fit(later(), start_from=parent[1], config=small_config(model=settings))
    assert child.model.config.dropout == 0.5


def test_no_run_or_an_unfinished_one_is_refused(tmp_path):
    with pytest.raises(RunError, match="is not a run folder"):
        Recommender.fit(later(), start_from=tmp_path / "nothing")


def test_events_that_the_parent_was_trained_on_do_not_test_under_other_dates(tmp_path):
    days = [1_700_000_000 + day * DAY for day in (8, 10)]
    config = small_config(split={"kind": "temporal", "valid_from": days[0], "test_from": days[1]})
    Recommender.fit(log(), config=config, out=tmp_path / "parent")
    sooner = replace(
        config, split=SplitConfig(kind="temporal", valid_from=days[0] - 3 * DAY, test_from=days[1])
    )
    with pytest.raises(
        ConfigError, match=r"trained on held-out events: on the validation events of 30 users"
    ):
        Recommender.fit(later(users=30), start_from=tmp_path / "parent", config=sooner)
    on = replace(
        config, split=SplitConfig(kind="temporal", valid_from=days[1] + 3 * DAY, test_from=days[1] + 5 * DAY)
    )
    child = Recommender.fit(later(users=30), start_from=tmp_path / "parent", config=on)
    assert trained_on_already(Recommender.load(tmp_path / "parent").split, child.split) == (0, 0)


def test_short_histories_whose_held_out_events_are_known_are_counted(tmp_path):
    """A user of two events trains with both; the third makes the second validate."""
    short = pl.DataFrame({"user_id": [7, 7], "item_id": [500, 501], "timestamp": [LAST, LAST + 1]})
    Recommender.fit(
        pl.concat([log(), short.cast(log().schema)]), config=small_config(), out=tmp_path / "parent"
    )
    more = pl.DataFrame({"user_id": [7], "item_id": [502], "timestamp": [LAST + 2]}).cast(log().schema)
    ear = Ear()
    Recommender.fit(more, start_from=tmp_path / "parent", listener=ear)
    assert any("the validation events of 1 users, the test events of 0" in notice for notice in ear.notices)


def test_what_was_removed_stays_removed_and_what_was_added_begins_where_it_was(parent, tmp_path):
    before, _ = parent
    changed = before.with_items([NewItem(item=NEW_ITEM, like=[505]), NewItem(item=778, like=[506])])
    changed.without_items([510]).save(tmp_path / "changed")
    ear = Ear()
    child = Recommender.fit(
        later(new_item=True), start_from=tmp_path / "changed", out=tmp_path / "child", listener=ear
    )
    assert any("1 items that were added" in notice for notice in ear.notices)
    assert child.changes.removed == (510,)
    assert Recommender.load(tmp_path / "child").changes.removed == (510,)
    assert not child.knows(778)
    start = Start(changed.model, changed._dense(child.split.histories.catalogue))
    config = child.facts.config
    begun = untrained(config, training_plan(child.split, config).sequences, ITEMS + 1, start)
    assert torch.equal(begun.embedding.weight[-1], before.model.embedding.weight[6])
