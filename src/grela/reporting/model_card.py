"""The model card of a run: Markdown that says what the model is, how good it is and what it is not for.

After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

import re
from collections.abc import Iterable, Sequence

from grela.data.splitting import Split, SplitReport
from grela.evaluation.evaluation import Evaluation
from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.reporting.build import check_evaluations, interval_words, metric_rows
from grela.reporting.report import Estimate, MetricRow
from grela.reporting.text import bounds, number

PAPER = (
    "Hu et al., *Gated Rotary-Enhanced Linear Attention with Rank Modulation for Long-term Sequential "
    "Recommendation*, [arXiv 2506.13315](https://arxiv.org/abs/2506.13315)"
)
FORMS = {
    "causal": "causal: each event attends to itself and to those before it, so a history's state is of constant "
    "size and can be continued event by event. The paper's own form is bidirectional",
    "bidirectional": "bidirectional, the paper's: each event attends to the whole history, which is read anew for "
    "each recommendation",
}
LOADING = """```python
from grela import Recommender

recommender = Recommender.load("RUN")        # the folder of this card
recommender.recommend([user], k=10)          # a user of the log, by raw id
recommender.recommend([[item, item]], k=10)  # any history of raw item ids, oldest first
```"""


def model_card(
    *,
    name: str,
    command: str,
    source: str,
    prepared: Sequence[str],
    model: RecGRELA,
    split: Split,
    evaluation: Evaluation,
    floor: Evaluation,
) -> str:
    """The card as Markdown (CommonMark with GitHub's tables).

    source: the name of the log; prepared: what was read and what each step dropped, a line each
    evaluation, floor: the model's and popularity's, both on the split's test cases

    Raises RequestError as `report_data` does.
    """
    check_evaluations(split.cases("test"), evaluation, floor)
    report = split.report()
    sections = (
        f"# {escape(name)}",
        _model(model),
        _data(source, prepared, split, report),
        _results(evaluation, floor),
        "## Intended use\n\nRanking the items of this catalogue for users by what they did before, in order. It is "
        "built for long histories; report.html beside this card shows how it does by length of history. Before it "
        "serves people, its operator should measure it on their own users.",
        _limits(model, evaluation, floor, report),
        f"## How to load it\n\n{LOADING}\n\nIt was made by\n\n{fenced(command)}",
    )
    return "\n\n".join(sections) + "\n"


def _model(model: RecGRELA) -> str:
    c = model.config
    parameters = sum(parameter.numel() for parameter in model.parameters())
    local = f", convolution over {c.taps} events" if c.local_branch else ""
    rows = (
        ("form", FORMS[c.form]),
        ("size", f"width {c.width}, heads: {c.heads}, layers: {c.layers}{local}"),
        ("parameters", f"{parameters:,}, of which {model.embedding.weight.numel():,} are item embeddings"),
        ("differs from the paper's layers", _changes(c)),
    )
    return (
        f"## The model\n\nRecGRELA, a recommender of the next item by linear attention: {PAPER}.\n\n"
        f"{listed(f'**{label}**: {text}' for label, text in rows)}"
    )


def _changes(config: RecGRELAConfig) -> str:
    """Which parts are switched off or added."""
    switches = {"rotation": config.rotation, "local branch": config.local_branch, "gate": config.gate}
    changes = [f"no {part}" for part, on in switches.items() if not on]
    if config.decay:
        changes.append("a learned decay of the state")
    if config.gaps:
        changes.append("an embedding of the time since the event before")
    if config.repeats:
        changes.append("a learned bias on items of the history")
    if config.item_bias:
        changes.append("a learned bias of each item")
    if config.next_gaps:
        changes.append(f"scores mixed over when the next event comes, in {config.next_gaps} classes")
    if config.after_next:
        changes.append("trained to foretell the item after the next too")
    if config.learned_positions:
        changes.append(f"learned positions, {config.learned_positions}")
    return "; ".join(changes) or "in nothing"


def _data(source: str, prepared: Sequence[str], split: Split, report: SplitReport) -> str:
    histories = split.histories
    facts = [
        f"source: {escape(source)}",
        *(escape(line) for line in prepared),
        f"kept: {len(histories):,} users, {histories.num_items:,} items, {histories.num_events:,} events",
        f"split: {report.kind}, fingerprint `{report.fingerprint}`",
        f"training: {report.train_users:,} users, {report.train_events:,} events; "
        f"{report.train_only_users:,} users only train",
        f"validation: {escape(str(report.valid))}",
        f"test: {escape(str(report.test))}",
    ]
    return f"## The data\n\n{listed(facts)}"


def _results(evaluation: Evaluation, floor: Evaluation) -> str:
    header = (
        "| metric | seen items filtered | popularity, filtered | not filtered | popularity, not filtered |"
    )
    rows = [_row(row) for row in metric_rows(evaluation, floor)]
    table = "\n".join((header, "|---|---|---|---|---|", *rows))
    return (
        f"## Results\n\nOn {len(evaluation.users):,} test users, {evaluation.targets:,} test items. In brackets: "
        f"{interval_words(evaluation)}.\n\n{table}\n\n"
        f"Protocol: {escape(evaluation.protocol)}. {escape(evaluation.tie_rule.capitalize())}. Popularity "
        "recommends the items most frequent in training to everybody."
    )


def _row(row: MetricRow) -> str:
    cells = (
        row.name,
        _cell(row.filtered),
        number(row.popularity_filtered),
        _cell(row.unfiltered),
        number(row.popularity_unfiltered),
    )
    return f"| {' | '.join(cells)} |"


def _cell(estimate: Estimate) -> str:
    interval = bounds(estimate)
    return f"{number(estimate[0])} ({interval})" if interval else number(estimate[0])


def _limits(model: RecGRELA, evaluation: Evaluation, floor: Evaluation, report: SplitReport) -> str:
    by_default = (
        "By default they are not recommended."
        if model.repeats is None
        else "The model has learnt what they are worth from how often people repeat in training."
    )
    bias, seen = "popularity_bias@10", evaluation.targets_already_seen
    limits = (
        "**Cold start.** A user without a known item gets the most popular items. An item that is not in the "
        "catalogue cannot be recommended, and one without training events has an embedding that learned nothing "
        f"of it: {report.test.cold_targets:,} of {report.test.targets:,} test events are of such items.",
        f"**Popularity bias.** With seen items filtered, lists have a popularity lift of "
        f"{number(evaluation.filtered[bias])} over the users' histories (0: as popular; 1: twice as popular); the "
        f"popularity list has {number(floor.filtered[bias])}. The share of the catalogue that lists show is "
        f"{number(evaluation.filtered['coverage@10'])}.",
        f"**Seen items.** {seen:,} of {evaluation.targets:,} test items were in their user's history already: with "
        f"seen items filtered they count as misses. {by_default}",
        "**Offline numbers.** They tell how well held-out events were foreseen, not what users would do with the "
        "recommendations.",
        "**Licence and privacy of the data.** This card does not know the licence of the log. Whether the data, and "
        "a model made from them, may be used and passed on is for its user to find out. The run folder holds every "
        "user's history: guard it as the log itself.",
    )
    return f"## Limits\n\n{listed(limits)}"


def listed(lines: Iterable[str]) -> str:
    """A bulleted list."""
    return "\n".join(f"- {line}" for line in lines)


def escape(text: str) -> str:
    """Plain text as Markdown that shows it: on one line, no markup, no end of a table's cell."""
    one_line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    inline = re.sub(r"([\\`*_{}\[\]<>|~&#!$])", r"\\\1", one_line)
    return re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", inline)  # else the start of a list


def fenced(text: str) -> str:
    """A block of code whose fence is longer than any run of backticks in the text."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"
