"""Laws of what is reported of a run: every section is filled, and its numbers are the evaluation's."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from markdown_it import MarkdownIt

from grela import Config, Evaluation, RecGRELA, RecGRELAConfig, Recommender, TrainingConfig
from grela.data.histories import HistoryBatch
from grela.errors import RequestError
from grela.reporting.build import report_data
from grela.reporting.model_card import escape, fenced, model_card
from grela.reporting.report import ReportData, render
from grela.serving.lists import recommend
from grela.serving.ranking import Candidates, TopList

ITEMS = 40
TITLES: dict[str | int, str] = {item: f"Film {item}" for item in range(1, ITEMS + 1) if item != 7}
HOSTILE = "log | of `x`\n<script>alert(1)</script> *bold* [a](http://b) & more"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("made") / "run"


@pytest.fixture(scope="module")
def fitted(folder: Path) -> Recommender:
    rng = np.random.default_rng(3)
    lengths = rng.permutation(np.arange(3, 43))
    users = np.repeat(np.arange(100, 140), lengths)
    items = 1 + (rng.integers(0, 12, len(users)) + np.concatenate([np.arange(n) for n in lengths])) % ITEMS
    frame = pd.DataFrame({"user": users, "item": items, "time": np.arange(len(users))})
    config = Config(
        model=RecGRELAConfig(width=8, heads=2, layers=2),
        training=TrainingConfig(epochs=3, window=20, batch_positions=200, warmup_steps=2, precision="fp32"),
    )
    return Recommender.fit(frame, config=config, titles=TITLES, out=folder, device="cpu")


@pytest.fixture(scope="module")
def evaluation(fitted: Recommender) -> Evaluation:
    return fitted.evaluate()


@pytest.fixture(scope="module")
def floor(fitted: Recommender) -> Evaluation:
    return fitted.evaluate_popularity()


def built(fitted: Recommender, evaluation: Evaluation, floor: Evaluation) -> ReportData:
    every_item = Candidates.of(fitted.scorer.num_items, None, np.zeros(0, np.int64), filter_seen=False)

    def top(batch: HistoryBatch, k: int) -> list[TopList]:
        popularity = fitted.train_counts[1:].astype(np.float32)
        return recommend(fitted.scorer, popularity, batch, every_item, k)

    return report_data(
        title="a small run",
        command="grela fit small.csv --out RUN",
        duration="3 s",
        model=fitted.model,
        window=fitted.facts.config.training.window,
        split=fitted.split,
        titles=fitted.titles,
        epochs=fitted.epochs,
        evaluation=evaluation,
        floor=floor,
        top=top,
        facts=[("source", "small.csv")],
        config=fitted.facts.config.to_json(),
        environment={"python": "3"},
    )


@pytest.fixture(scope="module")
def data(fitted: Recommender, evaluation: Evaluation, floor: Evaluation) -> ReportData:
    return built(fitted, evaluation, floor)


@pytest.fixture(scope="module")
def card(fitted: Recommender, evaluation: Evaluation, floor: Evaluation) -> str:
    return model_card(
        name="a | small run",
        command="grela fit small.csv",
        source=HOSTILE,
        prepared=["small.csv: read", "1. dropped"],
        model=fitted.model,
        split=fitted.split,
        evaluation=evaluation,
        floor=floor,
    )


def test_every_section_of_the_page_is_filled(data: ReportData) -> None:
    page = render(data)
    assert 'class="empty"' not in page
    assert page.count("<svg") == 5
    assert "a small run" in page


def test_metrics_are_the_evaluations_with_interval_and_floor(
    data: ReportData, evaluation: Evaluation, floor: Evaluation
) -> None:
    rows = {row.name: row for row in data.metrics}
    assert {"HR@5", "HR@10", "HR@20", "NDCG@5", "NDCG@10", "NDCG@20", "MRR", "coverage@10"} <= rows.keys()
    row = rows["NDCG@10"]
    assert row.filtered == (evaluation.filtered["ndcg@10"], *evaluation.intervals["filtered"]["ndcg@10"])
    assert row.unfiltered == (
        evaluation.unfiltered["ndcg@10"],
        *evaluation.intervals["unfiltered"]["ndcg@10"],
    )
    assert row.popularity_filtered == floor.filtered["ndcg@10"]
    assert row.popularity_unfiltered == floor.unfiltered["ndcg@10"]
    assert np.isnan(rows["coverage@10"].filtered[1:]).all()
    assert rows["coverage@10"].filtered[0] == evaluation.filtered["coverage@10"]


def test_curves_are_those_of_training(data: ReportData, fitted: Recommender) -> None:
    (loss,), (filtered, unfiltered) = data.loss, data.validation
    assert list(loss.x) == list(filtered.x) == [1, 2, 3]
    assert list(loss.y) == [epoch["loss"] for epoch in fitted.epochs]
    assert list(filtered.y) == [epoch["metrics"]["filtered/ndcg@10"] for epoch in fitted.epochs]
    assert list(unfiltered.y) == [epoch["metrics"]["unfiltered/ndcg@10"] for epoch in fitted.epochs]
    # The model has learnt what repeats are worth, so nothing is filtered where epochs are compared.
    assert data.best_epoch == 1 + int(np.argmax(unfiltered.y))


def test_without_validation_no_epoch_was_chosen_by_it(
    fitted: Recommender, evaluation: Evaluation, floor: Evaluation
) -> None:
    bare = Recommender(
        fitted.model,
        fitted.split,
        fitted.facts,
        titles={},
        epochs=[epoch | {"metrics": {}} for epoch in fitted.epochs],
    )
    data = built(bare, evaluation, floor)
    assert (data.validation, data.best_epoch) == ([], None)
    assert "No validation was recorded" in render(data)


def test_buckets_hold_every_tested_user(data: ReportData, evaluation: Evaluation) -> None:
    assert sum(bucket.users for bucket in data.by_length) == len(evaluation.users) == 40
    for bucket, measured in zip(data.by_length, evaluation.by_history_length, strict=True):
        assert bucket.filtered[0] == measured.filtered["ndcg@10"]
        assert bucket.unfiltered[1:] == measured.intervals["unfiltered"]["ndcg@10"]


def test_examples_spread_from_the_shortest_history_to_the_longest(data: ReportData) -> None:
    assert [user.history_length for user in data.examples] == [2, 10, 18, 25, 33, 41]


def test_an_example_ends_before_its_truth_and_shows_what_recommend_gives(
    data: ReportData, fitted: Recommender, evaluation: Evaluation
) -> None:
    for user in data.examples:
        dense = fitted.split.histories.users.encode([user.user])[0]
        *before, last = fitted.split.histories.catalogue.decode(fitted.split.histories[dense])
        assert user.truth == [TITLES.get(last, str(last))]
        assert user.history == [TITLES.get(raw, str(raw)) for raw in before[-12:]]
        times = fitted.split.histories.times_of(int(dense))[:-1]
        (asked,) = fitted.recommend([before], times=[times])
        assert [r.title for r in user.recommendations] == [r.title or str(r.item) for r in asked.items]
        assert [r.hit for r in user.recommendations] == [r.item == last for r in asked.items]
        rank = evaluation.ranks_unfiltered.best[evaluation.users == dense][0]
        assert user.rank == (None if np.isinf(rank) else rank)
        if user.rank is not None and user.rank <= 10:
            assert user.recommendations[user.rank - 1].hit


def test_an_item_without_a_title_is_shown_by_its_id(
    fitted: Recommender, evaluation: Evaluation, floor: Evaluation
) -> None:
    untitled = Recommender(fitted.model, fitted.split, fitted.facts, titles={}, epochs=fitted.epochs)
    shown = [title for user in built(untitled, evaluation, floor).examples for title in user.history]
    assert shown
    assert all(title.isdigit() for title in shown)


def test_every_layer_and_head_is_measured(data: ReportData) -> None:
    assert [share.layer for share in data.shares] == [1, 2]
    assert [(rank.layer, rank.head) for rank in data.ranks] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert {(rank.positions, rank.head_width) for rank in data.ranks} == {(41, 4)}
    assert "non-linear and left out" in dict(data.protocol)["inside the model"]  # type: ignore[operator]


def test_layers_of_the_bidirectional_form_are_measured_on_its_window(
    fitted: Recommender, evaluation: Evaluation, floor: Evaluation
) -> None:
    config = replace(fitted.model.config, form="bidirectional")
    both_ways = RecGRELA(config, rng=torch.Generator().manual_seed(1))
    other = Recommender(both_ways, fitted.split, fitted.facts, titles={}, epochs=fitted.epochs)
    data = built(other, evaluation, floor)
    assert not data.causal
    assert {rank.positions for rank in data.ranks} == {20}


def test_facts_count_the_data_and_name_the_split(data: ReportData, fitted: Recommender) -> None:
    facts, protocol = dict(data.data), dict(data.protocol)
    assert (facts["source"], facts["users"], facts["events"]) == ("small.csv", 40, sum(range(3, 43)))
    assert protocol["fingerprint of the split"] == fitted.split.fingerprint
    assert protocol["users tested"] == 40


def test_the_same_run_gives_the_same_page(
    data: ReportData, fitted: Recommender, evaluation: Evaluation, floor: Evaluation
) -> None:
    assert render(built(fitted, evaluation, floor)) == render(data)


def test_an_evaluation_of_other_users_is_refused(
    fitted: Recommender, evaluation: Evaluation, floor: Evaluation
) -> None:
    fewer = replace(floor, users=floor.users[1:])
    with pytest.raises(RequestError, match="popularity floor is of 39 users, not of the 40 test cases"):
        built(fitted, evaluation, fewer)


def test_a_missing_cut_off_is_refused(fitted: Recommender, evaluation: Evaluation, floor: Evaluation) -> None:
    without = replace(evaluation, filtered={k: v for k, v in evaluation.filtered.items() if k != "hr@20"})
    with pytest.raises(RequestError, match="evaluation lacks hr@20; evaluate with the default cut-offs"):
        built(fitted, without, floor)


def table_of(card: str) -> list[list[str]]:
    page = MarkdownIt("commonmark").enable("table").render(card)
    assert page.count("<table>") == 1
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [[unescape(cell) for cell in re.findall(r"<t[hd]>(.*?)</t[hd]>", row)] for row in rows]


def test_the_card_has_the_evaluations_numbers(card: str, evaluation: Evaluation, floor: Evaluation) -> None:
    rows = {name: cells for name, *cells in table_of(card)}
    for metric, name in (("ndcg@10", "NDCG@10"), ("hr@5", "HR@5"), ("mrr", "MRR")):
        filtered, low_filtered, unfiltered, low_unfiltered = rows[name]
        low, high = evaluation.intervals["filtered"][metric]
        assert filtered == f"{evaluation.filtered[metric]:.4f} ({low:.4f}–{high:.4f})"
        low, high = evaluation.intervals["unfiltered"][metric]
        assert unfiltered == f"{evaluation.unfiltered[metric]:.4f} ({low:.4f}–{high:.4f})"
        assert low_filtered == f"{floor.filtered[metric]:.4f}"
        assert low_unfiltered == f"{floor.unfiltered[metric]:.4f}"
    lift = f"{evaluation.filtered['popularity_bias@10']:.4f}".replace("-", "−")
    assert f"popularity lift of {lift}" in card


def test_the_card_names_paper_form_data_split_and_limits(card: str, fitted: Recommender) -> None:
    for words in (
        "2506.13315",
        "causal",
        f"fingerprint `{fitted.split.fingerprint}`",
        f"kept: 40 users, {fitted.split.histories.num_items} items, 900 events",
        "Cold start",
        "does not know the licence",
        "grela fit small.csv",
    ):
        assert words in card


OURS = {
    "gaps": "an embedding of the time since the event before",
    "repeats": "a learned bias on items of the history",
    "item_bias": "a learned bias of each item",
    "next_gaps": "scores mixed over when the next event comes, in 4 classes",
    "after_next": "trained to foretell the item after the next too",
}


ON = {"next_gaps": 4, "after_next": 0.3}


@pytest.mark.parametrize("on", [(), *((name,) for name in OURS), tuple(OURS)], ids=str)
def test_the_card_says_what_the_model_adds_to_the_papers(
    on: tuple[str, ...], fitted: Recommender, evaluation: Evaluation, floor: Evaluation
) -> None:
    settings = {name: ON.get(name, True) if name in on else 0 for name in OURS}
    config = replace(fitted.model.config, **settings)
    card = model_card(
        name="a run",
        command="grela fit",
        source="a log",
        prepared=[],
        model=RecGRELA(config, rng=torch.Generator()),
        split=fitted.split,
        evaluation=evaluation,
        floor=floor,
    )
    said = "; ".join(OURS[name] for name in on) or "in nothing"
    assert f"**differs from the paper's layers**: {said}\n" in card
    by_default = "By default they are not recommended" in card
    assert by_default == ("repeats" not in on)
    assert ("has learnt what they are worth" in card) != by_default


def test_the_report_names_the_settings_of_what_is_added(data: ReportData) -> None:
    page = render(data)
    assert {name: data.config["model"][name] for name in OURS} == {
        "gaps": True,
        "repeats": True,
        "item_bias": True,
        **ON,
    }
    assert all(name in page for name in OURS)


def test_hostile_names_show_as_they_are_and_mark_nothing_up(card: str) -> None:
    page = MarkdownIt("commonmark").enable("table").render(card)
    assert "<script" not in page
    assert "http://b" not in re.findall(r'href="([^"]*)"', page)
    shown = unescape(re.sub(r"<[^>]*>", "", page))
    assert "source: " + " ".join(HOSTILE.split()) in shown
    assert "<li>1. dropped</li>" in page
    assert "a | small run" in page


@pytest.mark.parametrize("text", ["a|b", "- x", "1) y", "+ z", "== w", "a\\b", "_i_ ~s~ &amp; $m$ !", "#h"])
def test_escaped_text_is_read_back_as_it_was(text: str) -> None:
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(f"- {escape(text)}\n")
    assert unescape(page) == f"<ul>\n<li>{text}</li>\n</ul>\n"


def test_a_command_with_backticks_stays_inside_its_fence() -> None:
    page = MarkdownIt("commonmark").render(fenced("a ```` b\n```"))
    assert page == "<pre><code>a ```` b\n```\n</code></pre>\n"


def test_the_cards_own_code_loads_the_run(card: str, fitted: Recommender, folder: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    names: dict[str, object] = {"user": 100, "item": 5}
    exec(code.replace('"RUN"', repr(str(folder))), names)
    loaded = names["recommender"]
    assert isinstance(loaded, Recommender)
    assert loaded.split.fingerprint == fitted.split.fingerprint
