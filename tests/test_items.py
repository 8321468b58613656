"""The facade's catalogue after training: items come and go, and nothing that was said of others changes."""

import json

import numpy as np
import polars as pl
import pytest

from fit_cases import FIRST_ITEM, ITEMS, files_of, fitted, items, log, small_config
from grela import NewItem, Recommender
from grela.data.features import read_features
from grela.errors import CatalogueError, DataError, RunError
from grela.item_changes import ITEM_CHANGES
from grela.serving.codec import StateCodec

NEW = 900


@pytest.fixture
def run(tmp_path):
    fitted().save(tmp_path / "run")
    return tmp_path / "run"


def with_copy(of: int = 505) -> Recommender:
    return fitted().with_items([NewItem(item=NEW, like=[of], title="Nine hundred")])


def scores(recommender: Recommender, history, **asked) -> dict:
    (found,) = recommender.recommend([history], k=100, filter_seen=False, **asked)
    return {one.item: one.score for one in found.items}


def test_a_new_item_is_recommended_beside_the_one_it_is_like():
    changed = with_copy()
    (found,) = changed.recommend([[502, 503, 504]], k=100)
    ranked = items(found)
    assert abs(ranked.index(NEW) - ranked.index(505)) == 1
    assert next(one.title for one in found.items if one.item == NEW) == "Nine hundred"
    of_each = scores(changed, [502, 503, 504])
    assert of_each[NEW] == pytest.approx(of_each[505])
    assert len(of_each) == ITEMS + 1


def test_the_recommender_it_comes_from_is_as_before():
    with_copy().without_items([501])
    assert len(scores(fitted(), [502, 503])) == ITEMS
    assert not fitted().changes
    assert fitted().model.config.num_items == ITEMS


def test_a_new_item_is_understood_in_a_history():
    changed = with_copy()
    (found,) = changed.recommend([[503, 504, NEW]], k=5)
    assert found.unknown == []
    by_new, by_known = scores(changed, [503, 504, NEW]), scores(changed, [503, 504, 505])
    # All but what the bias for items met makes of the one that was met.
    others = [item for item in by_new if item not in (505, NEW)]
    ranked = sorted(others, key=by_known.__getitem__)
    assert ranked == sorted(others, key=by_new.__getitem__)


def test_ids_may_be_given_as_a_command_line_does():
    changed = fitted().with_items([NewItem(item="901", like={"505": 2, "506": 1.0})])
    assert changed.changes.added == (901,)
    assert changed.knows(901)
    assert changed.knows("901")
    assert not fitted().knows(901)


def test_the_bias_is_the_neighbours_or_the_one_given():
    low = fitted().with_items([NewItem(item=NEW, like=[505], bias=-20.0)])
    assert low.model.item_bias.of_items[-1] == -20
    assert scores(low, [502, 503, 504])[NEW] < min(
        score for item, score in scores(low, [502, 503, 504]).items() if item != NEW and score > -9
    )


def test_what_was_removed_is_never_recommended_and_still_understood(tmp_path):
    before = fitted()
    changed = before.without_items([505, "506"])
    for asked in ({}, {"allow": [504, 505, 506]}, {"filter_seen": False}):
        (found,) = changed.recommend([[502, 503, 504]], k=100, **asked)
        assert not {505, 506} & set(items(found))
    (cold,) = changed.recommend([[]], k=100)
    assert not {505, 506} & set(items(cold))
    assert changed.recommend([[504, 505]], k=3)[0].unknown == []
    left = scores(changed, [503, 505])
    assert left == {item: score for item, score in scores(before, [503, 505]).items() if item in left}
    changed.recommend_to_parquet(tmp_path / "lists.parquet", k=100)
    assert not {505, 506} & set(pl.read_parquet(tmp_path / "lists.parquet")["item"].to_list())
    session = changed.session(103)
    assert not {505, 506} & set(items(session.recommend(100)))


def test_changes_are_kept_with_the_run_and_nothing_else_is_touched(run):
    before = files_of(run)
    loaded = Recommender.load(run)
    changed = loaded.with_items([NewItem(item=NEW, like={505: 1, 506: 3}, title="Nine hundred")])
    changed = changed.without_items([501])
    changed.save_items(run)
    after = files_of(run)
    assert {name: after[name] for name in before} == before
    assert set(after) == {*before, ITEM_CHANGES}
    again = Recommender.load(run)
    assert scores(again, [502, 503]) == scores(changed, [502, 503])
    assert again.titles == changed.titles
    assert again.changes.origins == ({"item": NEW, "like": {"505": 1.0, "506": 3.0}},)
    more = again.with_items([NewItem(item=902, like=[NEW])])
    more.save_items(run)
    assert Recommender.load(run).changes.added == (NEW, 902)
    (run / ITEM_CHANGES).unlink()
    assert scores(Recommender.load(run), [502, 503]) == scores(fitted(), [502, 503])


def test_what_was_only_removed_is_kept_too(run):
    Recommender.load(run).without_items([501]).save_items(run)
    assert Recommender.load(run).changes.removed == (501,)
    assert Recommender.load(run).model.config.added_items == 0


def test_a_changed_recommender_saved_elsewhere_is_the_run_with_its_changes(run, tmp_path):
    changed = with_copy().without_items([501])
    changed.save(tmp_path / "other")
    other = files_of(tmp_path / "other")
    for name, content in files_of(run).items():
        if name not in ("environment.json", "items.parquet", "histories.parquet"):
            assert other[name] == content, name
    again = Recommender.load(tmp_path / "other")
    assert scores(again, [502, 503]) == scores(changed, [502, 503])


def test_of_two_changes_at_a_time_none_is_lost(run):
    first, second = Recommender.load(run), Recommender.load(run)
    first.with_items([NewItem(item=NEW, like=[505])]).save_items(run)
    with pytest.raises(RunError, match=r"was changed meanwhile .*load the run again and repeat"):
        second.without_items([501]).save_items(run)
    assert Recommender.load(run).changes.removed == ()


def test_changes_of_another_run_are_refused(run, tmp_path):
    with_copy().save(tmp_path / "first")
    another = Recommender.fit(
        pl.read_parquet(run / "histories.parquet")
        .select(user="user", item=pl.col("items"), time=pl.col("times"))
        .explode("item", "time"),
        config=small_config(training={"seed": 5}),
    )
    another.save(tmp_path / "another")
    (tmp_path / "another" / ITEM_CHANGES).write_bytes((tmp_path / "first" / ITEM_CHANGES).read_bytes())
    with pytest.raises(RunError, match="was made for other weights"):
        Recommender.load(tmp_path / "another")
    stranger = tmp_path / "stranger"
    Recommender.fit(log(seed=3), config=small_config(training={"epochs": 1}), out=stranger)
    with pytest.raises(RunError, match="not the folder of this run"):
        with_copy().save_items(stranger)
    with pytest.raises(RunError, match="is not a run folder"):
        with_copy().save_items(tmp_path / "nothing")


@pytest.mark.parametrize("at", [0, 9, 200, -1])
def test_a_damaged_file_is_refused(run, at):
    changed = Recommender.load(run).with_items([NewItem(item=NEW, like=[505])])
    changed.save_items(run)
    content = bytearray((run / ITEM_CHANGES).read_bytes())
    content[at] ^= 0x41
    (run / ITEM_CHANGES).write_bytes(content)
    with pytest.raises(RunError, match=r"item_changes.safetensors: .*restore it, or remove it"):
        Recommender.load(run)


def test_states_from_before_an_item_was_added_are_good_unless_they_skipped_it():
    codec, grown = StateCodec(fitted().model), StateCodec(with_copy().model)
    payload = codec.encode(fitted().session(103).state)
    assert grown.fingerprint == codec.fingerprint
    state = grown.decode(payload)
    assert np.array_equal(state.recurrent, with_copy().session(103).state.recurrent)
    grown.decode(payload, logged=state.events)
    codec.decode(payload, logged=state.events + 1)
    from grela.errors import StateError

    with pytest.raises(StateError, match="skipped 1 events, and items have been added since"):
        grown.decode(payload, logged=state.events + 1)
    with pytest.raises(StateError, match="is of the model"):
        codec.decode(grown.encode(state))


def test_an_evaluation_of_another_catalogue_has_another_fingerprint():
    before, after = fitted().evaluation_json("valid"), with_copy().evaluation_json("valid")
    assert before["fingerprint"] != after["fingerprint"]
    assert after["items"] == before["items"] + 1
    assert fitted().without_items([501]).evaluation_json("valid") == before


def features_of_all() -> dict:
    """Features that decide the embeddings but for what no features know."""
    table = fitted().model.item_weights.detach().numpy()
    return {FIRST_ITEM + j: [*row.tolist(), float(j % 2)] for j, row in enumerate(table)}


def test_features_place_a_new_item_where_its_like_are():
    known = features_of_all()
    new = NewItem(item=NEW, features=known.pop(507))
    changed = fitted().with_items([new], features=known)
    row, like = changed.model.embedding.weight[-1], changed.model.embedding.weight[8]
    assert (row - like).norm() < 0.2 * like.norm()
    assert changed.changes.origins[0]["features_of"] == ITEMS - 1


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"item": 505, "like": [506]}, "item 505 is in the catalogue already; give the new one another id"),
        ({"item": "abc", "like": [506]}, "id is 'abc', but this run's are integers"),
        ({"item": 1.5, "like": [506]}, "id is 1.5, expected printable text or an integer"),
        ({"item": True, "like": [506]}, "id is True"),
        ({"item": "", "like": [506]}, "id is ''"),
        ({"item": "9\n", "like": [506]}, "printable text"),
        ({"item": 2**63, "like": [506]}, "expected an integer of 64 bits"),
        ({"item": 901}, "has neither `like` and `features`"),
        ({"item": 901, "like": [506], "features": [1.0]}, "has both `like` and `features`"),
        ({"item": 901, "like": []}, "is like nothing"),
        ({"item": 901, "like": [506, 7]}, "the neighbours of 901 have 7, which the run does not know"),
        ({"item": 901, "like": "506"}, "is like '506', expected a list"),
        ({"item": 901, "like": {506: 0}}, "is like 506 with weight 0, expected a positive number"),
        ({"item": 901, "like": {506: float("nan")}}, "with weight nan"),
        ({"item": 901, "like": {506: "2"}}, "with weight '2'"),
        ({"item": 901, "like": [506, "506"]}, "name an item twice"),
        ({"item": 901, "like": [506], "bias": float("nan")}, "bias of the new item 901 is nan"),
        ({"item": 901, "features": [1.0]}, "no known item has; give `features`"),
    ],
)
def test_what_cannot_be_added_is_refused(item, message):
    with pytest.raises(CatalogueError, match=message):
        fitted().with_items([NewItem(**item)])


@pytest.mark.parametrize(
    ("vector", "known", "message"),
    [
        ([1.0], {500: [1.0, 2.0], 501: [2.0, 1.0]}, r"shape \(1,\), expected \(2,\)"),
        ([1.0, float("nan")], {500: [1.0, 2.0], 501: [2.0, 1.0]}, "the new item 901 hold nan"),
        ([1.0, 2.0], {500: [1.0, 2.0]}, "of 1 known items; a map is learned from 2 or more"),
        ([1.0, 2.0], {500: [1.0, 2.0], 7: [2.0, 1.0]}, "known items have 7, which the run does not know"),
        ([1.0, 2.0], {500: [1.0, 2.0], 501: [2.0]}, r"item 501 have shape \(1,\)"),
        ([1.0, 2.0], {500: [1.0, float("inf")], 501: [2.0, 1.0]}, "item 500 hold inf"),
        (["a", 2.0], {500: [1.0, 2.0], 501: [2.0, 1.0]}, "expected a list of numbers"),
        ([1.0], {500: 1.0, 501: 2.0}, r"item 500 have shape \(\), expected \(0,\)"),
    ],
)
def test_features_that_make_no_sense_are_refused(vector, known, message):
    with pytest.raises(CatalogueError, match=message):
        fitted().with_items([NewItem(item=901, features=vector)], features=known)


def test_one_new_item_twice_is_refused_and_one_removed_does_not_come_back():
    with pytest.raises(CatalogueError, match="the new item '901' is given twice"):
        fitted().with_items([NewItem(item=901, like=[505]), NewItem(item="901", like=[506])])
    with pytest.raises(CatalogueError, match="and was removed; what was removed does not come back"):
        fitted().without_items([505]).with_items([NewItem(item=505, like=[506])])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([7], "the items to remove have 7, which the run does not know"),
        ([505, "505"], "is removed already, or named twice"),
        ("505", "expected a list of ids"),
        ([1.5], "expected an id"),
        (list(range(FIRST_ITEM, FIRST_ITEM + ITEMS)), "nothing would be left"),
    ],
)
def test_what_cannot_be_removed_is_refused(given, message):
    with pytest.raises(CatalogueError, match=message):
        fitted().without_items(given)
    with pytest.raises(CatalogueError, match="removed already"):
        fitted().without_items([505]).without_items([505])


def test_features_are_read_from_tables(tmp_path):
    (tmp_path / "f.csv").write_text("item_id,price,heavy\n500,1.5,0\nX,2,1\n")
    found = read_features(tmp_path / "f.csv")
    assert {item: vector.tolist() for item, vector in found.items()} == {"500": [1.5, 0.0], "X": [2.0, 1.0]}
    frame = pl.DataFrame({"item": [7, 8], "a": [1, 2], "b": [0.5, 1.5]})
    assert [*read_features(frame)] == [7, 8]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item,a\n1,x\n", "column 'a' is 'x' at line 2, expected a finite number"),
        ("item,a\n1,2\n3,nan\n", "at line 3, expected a finite number"),
        ("item,a\n1,2\n3,\n", "at line 3, expected a finite number"),
        ("item\n1\n", "has no column but 'item'"),
        ("item,a\n1,2\n1,3\n", "has item 1 twice"),
        ("item,a\n", "no rows"),
    ],
)
def test_tables_of_features_that_make_no_sense_are_refused(tmp_path, text, message):
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_features(tmp_path / "f.csv")


def test_the_file_says_what_was_done(run):
    from safetensors import safe_open

    Recommender.load(run).with_items([NewItem(item=NEW, like=[505], title="Zwölf", bias=-3)]).save_items(run)
    with safe_open(run / ITEM_CHANGES, framework="np") as file:
        said = json.loads(file.metadata()["changes"])
        assert file.get_tensor("embeddings").shape == (1, 8)
    assert said["added"] == [{"item": NEW, "like": {"505": 1.0}, "bias": -3.0, "title": "Zwölf"}]
    assert said["removed"] == []
