"""The facade, as its users call it."""

from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch

from fit_cases import (
    FIRST_ITEM,
    FIRST_USER,
    ITEMS,
    USERS,
    Ear,
    dated_log,
    fitted,
    history_of,
    items,
    log,
    small_config,
    times_of,
    weights,
)
from grela import Recommender
from grela.errors import ConfigError, DataError, EmptyDataError, KernelError, RequestError, RunError
from grela.ops.compiled.build import load_library
from grela.serving.parquet import write_lists
from grela.serving.ranking import Candidates
from grela.serving.scorer import ModelScorer

ALL_ITEMS = list(range(FIRST_ITEM, FIRST_ITEM + ITEMS))


def same_weights(a: Recommender, b: Recommender) -> bool:
    return all(torch.equal(weights(a)[name], tensor) for name, tensor in weights(b).items())


@pytest.mark.parametrize("form", ["polars", "pandas", "pyarrow", "csv", "parquet"])
def test_every_form_of_a_log_gives_the_same_recommender(tmp_path, form):
    frame = log()
    if form == "csv":
        frame.write_csv(tmp_path / "log.csv")
    if form == "parquet":
        frame.write_parquet(tmp_path / "log.parquet")
    events = {
        "polars": lambda: frame,
        "pandas": frame.to_pandas,
        "pyarrow": frame.to_arrow,
        "csv": lambda: tmp_path / "log.csv",
        "parquet": lambda: str(tmp_path / "log.parquet"),
    }[form]()
    other = Recommender.fit(events, config=small_config())
    assert same_weights(other, fitted())
    assert other.split.fingerprint == fitted().split.fingerprint


def test_another_seed_gives_other_weights():
    other = Recommender.fit(log(), config=small_config(training={"seed": 1}))
    assert not same_weights(other, fitted())


@pytest.mark.parametrize("histories", ["windows", "carried"])
def test_what_was_learnt_beats_popularity(histories):
    training = {"epochs": 12, "learning_rate": 0.02, "histories": histories}
    more = Recommender.fit(log(users=60), config=small_config(training=training))
    found, floor = more.evaluate().unfiltered["ndcg@10"], more.evaluate_popularity().unfiltered["ndcg@10"]
    assert found > floor + 0.1


def test_histories_with_their_state_carried_train_another_model():
    cut, carried = (
        Recommender.fit(log(length=40), config=small_config(training={"histories": histories}))
        for histories in ("windows", "carried")
    )
    assert not same_weights(cut, carried)


def test_a_known_user_is_recommended_what_his_history_is():
    """To whoever says when, be it in a list, an array or a series."""
    for view in (True, False, None):
        for form in (list, np.array, pl.Series, tuple):
            by_id, by_history, untimed = fitted().recommend(
                [103, history_of(103), history_of(103)],
                k=7,
                times=[None, form(times_of(103)), None],
                filter_seen=view,
            )
            assert by_id.items == by_history.items
            assert (by_id.user, by_history.user) == (103, None)
            # Without times all gaps are unknown, which is another input.
            assert [one.score for one in untimed.items] != [one.score for one in by_id.items]


def test_who_is_asked_for_together_changes_nothing():
    everyone = list(range(FIRST_USER, FIRST_USER + USERS))
    together = fitted().recommend(everyone, k=5)
    for user in (100, 117, 129):
        alone = fitted().recommend([user], k=5)[0]
        assert items(alone) == items(together[user - FIRST_USER])
        found = [one.score for one in together[user - FIRST_USER].items]
        assert found == pytest.approx([one.score for one in alone.items], rel=1e-5, abs=1e-6)


def test_unknown_items_are_skipped_and_reported():
    with_unknown, without = fitted().recommend([[500, 9, 501, "no such", 502], [500, 501, 502]])
    assert with_unknown.unknown == [9, "no such"]
    assert without.unknown == []
    assert items(with_unknown) == items(without)
    # The two are rows of one product, which need not round alike.
    scores = [one.score for one in without.items]
    assert [one.score for one in with_unknown.items] == pytest.approx(scores, rel=1e-6)
    assert not with_unknown.cold_start


@pytest.mark.parametrize("history", [[], [1, 2]])
def test_a_cold_start_gives_the_most_popular_and_says_so(history):
    (found,) = fitted().recommend([history], k=ITEMS)
    counts = fitted().train_counts[1:]
    assert found.cold_start
    assert found.unknown == history
    assert items(found) == [FIRST_ITEM + j for j in np.argsort(-counts, kind="stable")]
    assert [one.score for one in found.items] == sorted(counts.tolist(), reverse=True)


def test_only_allowed_items_are_recommended():
    (found,) = fitted().recommend([[500, 501]], allow=[501, 505, "507"], k=10, filter_seen=True)
    assert sorted(items(found)) == [505, 507]
    (kept,) = fitted().recommend([[500, 501]], allow=[501, 505, "507"], filter_seen=False)
    assert sorted(items(kept)) == [501, 505, 507]
    assert fitted().recommend([[500]], allow=[])[0].items == []


def test_excluded_items_are_never_recommended():
    (all_of_them,) = fitted().recommend([[500]], k=ITEMS)
    best = items(all_of_them)[:3]
    (found,) = fitted().recommend([[500]], k=ITEMS, exclude=best)
    assert items(found) == items(all_of_them)[3:]


def test_seen_items_are_left_to_a_model_that_scores_them_and_else_left_out(tmp_path):
    plain = small_config(model={"repeats": False}, training={"epochs": 1})
    for recommender, by_default in ((fitted(), False), (Recommender.fit(log(), config=plain), True)):
        asked, unasked = (
            recommender.recommend([103], k=ITEMS, **f) for f in ({"filter_seen": by_default}, {})
        )
        assert asked == unasked
        tables = [tmp_path / f"{by_default}-{name}.parquet" for name in ("asked", "unasked")]
        recommender.recommend_to_parquet(tables[0], k=ITEMS, filter_seen=by_default)
        recommender.recommend_to_parquet(tables[1], k=ITEMS)
        assert pq.read_table(tables[0]) == pq.read_table(tables[1])


def test_seen_items_are_left_out_where_asked_for():
    history = history_of(103)
    (unseen,) = fitted().recommend([103], k=ITEMS, filter_seen=True)
    (whole,) = fitted().recommend([103], k=ITEMS, filter_seen=False)
    assert sorted([*items(unseen), *set(history)]) == ALL_ITEMS
    assert sorted(items(whole)) == ALL_ITEMS
    assert [one for one in whole.items if one.item not in history] == unseen.items


def test_a_k_beyond_the_candidates_gives_all_of_them_best_first():
    (found,) = fitted().recommend([[500]], k=10**6)
    scores = [one.score for one in found.items]
    assert len(scores) == ITEMS
    assert scores == sorted(scores, reverse=True)


def test_a_shorter_list_is_the_beginning_of_a_longer_one():
    (long,), (short,) = fitted().recommend([[500]], k=9), fitted().recommend([[500]], k=4)
    assert short.items == long.items[:4]


def test_nobody_asked_for_gives_nothing():
    assert fitted().recommend([]) == []


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "3", None])
def test_a_bad_k_is_refused(tmp_path, k):
    for ask in (
        lambda: fitted().recommend([103], k=k),
        lambda: fitted().recommend([], k=k),
        lambda: fitted().recommend_to_parquet(tmp_path / "lists.parquet", k=k),
    ):
        with pytest.raises(RequestError, match=r"k is .*expected a whole number of at least 1"):
            ask()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("who", "message"),
    [
        ("103", "expected a list of users or of histories"),
        (103, "expected a list of users or of histories"),
        (None, "expected a list of users or of histories"),
        ({103: [500]}, "expected a list of users or of histories"),
        ([999], "unknown user 999: not among the users"),
        ([103, "nobody"], "unknown user 'nobody'"),
        ([None], "entry 0 of who is None, expected a list of items"),
        ([103, 1.5], "entry 1 of who is 1.5"),
        ([True], "entry 0 of who is True"),
        ([{500, 501}], "entry 0 of who is .*expected a list of items, oldest first"),
        ([[500, 1.5]], "entry 0 of who has 1.5 at place 1, expected an id"),
        ([[[500]]], r"has \[500\] at place 0"),
        ([[500, None]], "has None at place 1"),
    ],
)
def test_who_makes_no_sense_is_refused(who, message):
    with pytest.raises(RequestError, match=message):
        fitted().recommend(who)


@pytest.mark.parametrize("name", ["allow", "exclude"])
@pytest.mark.parametrize(
    ("given", "message"),
    [([500, 9], "unknown item 9 .1 in all"), ("500", "expected a list of items"), ([2.5], "2.5 at place 0")],
)
def test_bad_candidates_are_refused(name, given, message):
    with pytest.raises(RequestError, match=f"{name} .*{message}"):
        fitted().recommend([103], **{name: given})


def test_users_to_write_must_be_known(tmp_path):
    with pytest.raises(RequestError, match="unknown user 1 and 1 more"):
        fitted().recommend_to_parquet(tmp_path / "lists.parquet", users=[103, 1, 2])


def test_ids_come_back_as_they_went_in():
    for asked in (103, "103", np.int64(103)):
        (found,) = fitted().recommend([asked], k=3)
        assert found.user == 103
        assert type(found.user) is int
        assert all(type(one.item) is int for one in found.items)


def test_string_ids_keep_their_zeros():
    frame = log().select(
        "timestamp",
        user_id=pl.format("u-{}", "user_id"),
        item_id=pl.col("item_id").cast(pl.String).str.zfill(5),
    )
    recommender = Recommender.fit(frame, config=small_config())
    by_id, by_history = recommender.recommend(["u-103", ["00500", "500"]], k=ITEMS, filter_seen=True)
    assert by_id.user == "u-103"
    assert by_history.unknown == ["500"]
    assert sorted(items(by_history)) == [f"{raw:05}" for raw in ALL_ITEMS[1:]]


def test_arrays_and_series_are_lists_of_users_and_of_items():
    expected = fitted().recommend([103, 104], k=3)
    assert fitted().recommend(np.array([103, 104]), k=3) == expected
    assert fitted().recommend(pl.Series([103, 104]), k=3) == expected
    (by_list,) = fitted().recommend([[500, 501]])
    assert fitted().recommend([np.array([500, 501])]) == [by_list]
    assert fitted().recommend([pl.Series([500, 501])]) == [by_list]


def test_titles_are_found_whichever_type_their_ids_have():
    titles = {"500": "as text", 501: "as a number", "x": "of no item"}
    recommender = Recommender.fit(log(), config=small_config(training={"epochs": 1}), titles=titles)
    assert recommender.titles == {500: "as text", 501: "as a number"}
    (found,) = recommender.recommend([[510]], allow=[500, 501, 502])
    assert {one.item: one.title for one in found.items} == {500: "as text", 501: "as a number", 502: None}


def test_saved_and_loaded_it_recommends_the_same_to_the_last_bit(tmp_path):
    fitted().save(tmp_path / "run")
    loaded = Recommender.load(tmp_path / "run")
    who = [*range(FIRST_USER, FIRST_USER + USERS), [500, 501, 9], []]
    assert loaded.recommend(who, k=ITEMS) == fitted().recommend(who, k=ITEMS)
    assert loaded.evaluation_json() == fitted().evaluation_json()
    assert loaded.titles == fitted().titles
    assert loaded.epochs == fitted().epochs


def test_the_parquet_of_everyone_equals_recommend(tmp_path):
    path, done = tmp_path / "lists.parquet", []
    rows = fitted().recommend_to_parquet(path, k=4, progress=lambda *told: done.append(told))
    everyone = list(range(FIRST_USER, FIRST_USER + USERS))
    expected = [
        {"user": one.user, "rank": rank, "item": item.item, "score": item.score}
        for one in fitted().recommend(everyone, k=4)
        for rank, item in enumerate(one.items, 1)
    ]
    assert pq.read_table(path).to_pylist() == expected
    assert rows == len(expected)
    assert done[-1] == (USERS, USERS)
    assert list(tmp_path.iterdir()) == [path]


def test_the_parquet_of_some_users_is_in_their_order(tmp_path):
    path = tmp_path / "lists.parquet"
    fitted().recommend_to_parquet(path, users=["110", 101, 110], k=1, filter_seen=False)
    assert pq.read_table(path)["user"].to_pylist() == [110, 101, 110]
    assert fitted().recommend_to_parquet(path, users=[]) == 0
    assert pq.read_table(path).num_rows == 0


def test_lists_are_written_some_users_at_a_time(tmp_path, monkeypatch):
    sizes, done = [], []
    whole_met = ModelScorer.met
    monkeypatch.setattr(
        ModelScorer, "met", lambda self, batch: sizes.append(len(batch)) or whole_met(self, batch)
    )
    write_lists(
        tmp_path / "small.parquet",
        fitted().scorer,
        np.zeros(ITEMS, np.float32),
        fitted().split.histories,
        np.arange(USERS),
        Candidates(np.ones(ITEMS, bool), filter_seen=True),
        4,
        at_a_time=7,
        progress=lambda *told: done.append(told),
    )
    assert sizes == [7, 7, 7, 7, 2]
    fitted().recommend_to_parquet(tmp_path / "whole.parquet", k=4, filter_seen=True)
    assert done == [(7, 30), (14, 30), (21, 30), (28, 30), (30, 30)]
    small, whole = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("small", "whole"))
    assert small.drop(["score"]) == whole.drop(["score"])
    np.testing.assert_allclose(small["score"], whole["score"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("path", ["missing/lists.parquet", "file/lists.parquet", "folder"])
def test_lists_that_cannot_be_written_leave_nothing(tmp_path, path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RunError, match=r"cannot write .*choose another file"):
        fitted().recommend_to_parquet(tmp_path / path)
    assert sorted(tmp_path.iterdir()) == before


def test_an_evaluation_says_what_was_measured():
    result = fitted().evaluation_json()
    assert result["filtered"].keys() == result["unfiltered"].keys() >= {"ndcg@10", "hr@10", "mrr"}
    assert result["fingerprint"] == fitted().split.fingerprint
    assert (result["part"], result["split"], result["users"]) == ("test", "leave-one-out", USERS)
    assert 0 < result["popularity"]["filtered"]["hr@10"] <= 1
    assert fitted().evaluation_json("valid")["part"] == "valid"
    with pytest.raises(RequestError, match="no part 'train'"):
        fitted().evaluate("train")


def test_a_temporal_split_goes_through_the_whole_facade(tmp_path):
    ear = Ear()
    split = {"kind": "temporal", "valid_from": "2024-05-10", "test_from": "2024-05-11T12:00:00"}
    recommender = Recommender.fit(
        dated_log(), config=small_config(split=split), out=tmp_path / "run", listener=ear
    )
    said = "\n".join(ear.notices)
    assert "1 user" in said
    assert "train" in said
    assert recommender.split.train_end.sum() == 30 * 9 + 2
    assert recommender.evaluate().users.tolist() == [
        *range(1, USERS + 2)
    ]  # user 7 has nothing to be tested on
    loaded = Recommender.load(tmp_path / "run")
    assert loaded.evaluation_json() == recommender.evaluation_json()
    assert loaded.evaluation_json()["split"] == "temporal"
    assert loaded.split.histories.time_unit == "us"


def test_users_too_short_train_only_and_it_is_said():
    short = pl.DataFrame({"user_id": [1, 1], "item_id": [500, 501], "timestamp": [1, 2]})
    ear = Ear()
    recommender = Recommender.fit(pl.concat([log(), short]), config=small_config(), listener=ear)
    assert any("1 user" in line and "train" in line for line in ear.notices), ear.notices
    assert recommender.split.train_end[0] == 2
    assert 0 not in recommender.evaluate().users
    assert recommender.recommend([1])[0].cold_start is False


def test_one_user_is_enough_though_nothing_is_unseen_by_him():
    recommender = Recommender.fit(log(users=1), config=small_config())
    assert recommender.evaluate().users.tolist() == [0]
    assert recommender.recommend([FIRST_USER], filter_seen=True)[0].items == []
    assert len(recommender.recommend([FIRST_USER], k=3, filter_seen=False)[0].items) == 3


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (log().with_columns(item_id=pl.lit(500)), "one item, so there is nothing to rank"),
        (log(length=2), "no user can be tested: leave-one-out needs 3 events"),
        (log(length=3), "no user has two events to train on"),
        (log(users=0), "no rows"),
    ],
)
def test_logs_that_cannot_be_trained_on_are_refused_and_claim_no_folder(tmp_path, frame, message):
    with pytest.raises(EmptyDataError, match=message):
        Recommender.fit(frame, config=small_config(), out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("events", [None, 3, {"user": [1]}, [(1, 2, 3)]])
def test_events_of_no_known_kind_are_refused(events):
    with pytest.raises(DataError, match="expected"):
        Recommender.fit(events)


def test_settings_and_titles_of_another_kind_are_refused():
    with pytest.raises(ConfigError, match=r"config is a dict, expected a grela\.Config"):
        Recommender.fit(log(), config={"training": {"epochs": 1}})
    with pytest.raises(DataError, match="titles is a DataFrame, expected a dict"):
        Recommender.fit(log(), config=small_config(), titles=log())


def test_titles_of_no_item_are_told():
    ear = Ear()
    recommender = Recommender.fit(log(), config=small_config(), titles={"a": "A", 1: "B"}, listener=ear)
    assert recommender.titles == {}
    assert "none of the 2 titles is of an item of the log: items go by their ids" in ear.notices


def test_an_unknown_device_is_refused_before_a_folder_is_claimed(tmp_path):
    with pytest.raises(ConfigError, match="device is 'tpu'"):
        Recommender.fit(log(), config=small_config(), out=tmp_path / "run", device="tpu")
    assert list(tmp_path.iterdir()) == []


def test_a_bidirectional_recommender_is_fitted_saved_and_loaded(tmp_path):
    config = small_config(model={"form": "bidirectional"}, training={"epochs": 1})
    recommender = Recommender.fit(log(), config=config, out=tmp_path / "run")
    assert Recommender.load(tmp_path / "run").recommend([103]) == recommender.recommend([103])


@pytest.mark.parametrize(("kernels", "said"), [("compiled", "no C\\+\\+ compiler"), ("triton", "CUDA")])
def test_kernels_that_cannot_be_had_are_refused_before_anything_is_written(
    tmp_path, monkeypatch, kernels, said
):
    load_library.cache_clear()
    monkeypatch.setenv("CXX", "a-compiler-that-nobody-has")
    config = small_config()
    config = replace(config, training=replace(config.training, kernels=kernels))
    with pytest.raises(KernelError, match=said):
        Recommender.fit(log(), config=config, out=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()
    load_library.cache_clear()
