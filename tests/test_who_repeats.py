"""Where people repeat the model recalls what they met, and where nobody does it leaves that out: nobody told it to."""

from functools import cache

import numpy as np
import polars as pl
import torch

from fit_cases import small_config
from grela import Recommender
from grela.ops.gaps import UNKNOWN

USERS, ITEMS, LENGTH = 120, 60, 24
MODEL = {"width": 16, "heads": 1, "layers": 1, "dropout": 0.0}
TRAINING = {"epochs": 10, "learning_rate": 0.01, "batch_positions": 512, "window": 24}


def frame_of(items: np.ndarray) -> pl.DataFrame:
    """items [users, events], a day apart."""
    users, events = items.shape
    return pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(users), events),
            "item_id": items.ravel(),
            "timestamp": np.tile(86_400 * np.arange(events), users),
        }
    )


def loyal_log() -> pl.DataFrame:
    """Each user cycles through three or four favourites of his own; one event in ten is any item."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        favourites = rng.choice(ITEMS, 3 + user % 2, replace=False)
        cycle = favourites[np.arange(LENGTH) % len(favourites)]
        rows.append(np.where(rng.random(LENGTH) < 0.1, rng.integers(0, ITEMS, LENGTH), cycle))
    return frame_of(np.array(rows))


def curious_log() -> pl.DataFrame:
    """Nobody meets an item twice; which one comes next says nothing but that."""
    rng = np.random.default_rng(1)
    return frame_of(np.array([rng.permutation(ITEMS)[:LENGTH] for _ in range(USERS)]))


@cache
def fitted(log, repeats: bool = True) -> Recommender:
    return Recommender.fit(log(), config=small_config(model=MODEL | {"repeats": repeats}, training=TRAINING))


def test_where_everybody_repeats_seen_items_are_recalled():
    recommender = fitted(loyal_log)
    measured, floor = recommender.evaluate(), recommender.evaluate_popularity()
    assert measured.unfiltered["ndcg@10"] > 0.5
    assert measured.unfiltered["ndcg@10"] > measured.filtered["ndcg@10"] + 0.3
    assert measured.unfiltered["ndcg@10"] > floor.unfiltered["ndcg@10"] + 0.3
    bias = recommender.model.repeats.bias
    assert bias.by_count[4] + bias.by_age[3] > 1


def test_where_nobody_repeats_seen_items_do_not_come_up():
    recommender = fitted(curious_log)
    history = recommender.split.histories
    for user, found in enumerate(recommender.recommend(list(range(USERS)), k=10)):
        assert not {one.item for one in found.items} & set(history.catalogue.decode(history[user]))
        assert len(found.items) == 10
    measured = recommender.evaluate()
    assert measured.unfiltered["ndcg@10"] == measured.filtered["ndcg@10"]
    # Without the bias they do come up, as would by chance.
    without = fitted(curious_log, repeats=False).recommend(list(range(USERS)), k=10, filter_seen=False)
    met = [
        {one.item for one in found.items} & set(history.catalogue.decode(history[user]))
        for user, found in enumerate(without)
    ]
    assert sum(map(len, met)) > 100


def test_the_bias_begins_where_the_log_says_and_is_learnt():
    still = {"epochs": 1, "learning_rate": 1e-30, "weight_decay": 0.0}
    begun = Recommender.fit(curious_log(), config=small_config(model=MODEL, training=still))
    assert begun.model.repeats.by_count.max() < -5
    assert begun.model.repeats.by_age.abs().max() < 1e-9
    assert fitted(curious_log).model.repeats.by_age.abs().max() > 0.01


def test_an_untrained_model_ranks_by_popularity_what_nobody_met():
    still = {"epochs": 1, "learning_rate": 1e-30, "weight_decay": 0.0}
    begun = Recommender.fit(loyal_log(), config=small_config(model=MODEL, training=still))
    counts = begun.train_counts[1:]
    with torch.no_grad():
        scores = begun.model._logits(torch.zeros(1, MODEL["width"]), None)[0].numpy()
    assert np.array_equal(counts[np.argsort(-scores, kind="stable")], np.sort(counts)[::-1])


def test_saved_and_loaded_all_of_it_is_there(tmp_path):
    fitted(loyal_log).save(tmp_path / "run")
    loaded = Recommender.load(tmp_path / "run")
    expected = fitted(loyal_log).model.state_dict()
    names = {"gaps.weight", "repeats.by_count", "repeats.by_age"}
    names |= {"item_bias.weight", "next_gap.when", "next_gap.maps", "next_gap.class_of", "after_next.map"}
    assert names <= expected.keys() == loaded.model.state_dict().keys()
    for name, value in loaded.model.state_dict().items():
        assert value.equal(expected[name]), name
    assert loaded.model.next_gap.class_of.max() == 3
    assert loaded.recommend([0, [1, 2]]) == fitted(loyal_log).recommend([0, [1, 2]])


def test_all_of_it_is_learnt():
    """Every table moved from where it began, save rows of gaps that never were."""
    model = fitted(loyal_log).model
    begun = Recommender.fit(
        loyal_log(),
        config=small_config(model=MODEL, training=TRAINING | {"epochs": 1, "learning_rate": 1e-30}),
    ).model
    moved = [
        name
        for (name, value), other in zip(model.named_parameters(), begun.parameters(), strict=True)
        if (value - other).abs().max() > 1e-3
    ]
    expected = {"repeats.by_count", "repeats.by_age", "next_gap.when", "next_gap.maps", "gaps.weight"}
    assert expected | {"after_next.map"} <= set(moved)
    assert not model.gaps.weight[UNKNOWN].equal(begun.gaps.weight[UNKNOWN])
