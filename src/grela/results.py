"""What a finished fit leaves for people: the evaluation, the report and the model card."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from grela import run_folder
from grela.data.histories import HistoryBatch
from grela.data.splitting import Split, train_item_counts
from grela.data.vocabulary import RawId
from grela.errors import RunError
from grela.evaluation.evaluation import Evaluation
from grela.reporting.build import report_data
from grela.reporting.model_card import model_card
from grela.reporting.report import write_report
from grela.reporting.text import duration
from grela.run_folder import RunFacts
from grela.serving.lists import recommend
from grela.serving.ranking import Candidates, TopList
from grela.serving.scorer import ModelScorer

EVALUATION = "evaluation.json"
REPORT = "report.html"
CARD = "MODEL_CARD.md"


def write_results(
    folder: Path,
    *,
    facts: RunFacts,
    scorer: ModelScorer,
    split: Split,
    titles: dict[RawId, str],
    epochs: Sequence[dict[str, Any]],
    evaluation: Evaluation,
    floor: Evaluation,
) -> None:
    """Write evaluation.json, report.html and MODEL_CARD.md; RunError where the folder cannot be written.

    evaluation, floor: the model's and popularity's, on the test cases of the split.
    """
    model = scorer.model

    def top(batch: HistoryBatch, k: int) -> Sequence[TopList]:
        candidates = Candidates(np.ones(scorer.num_items, bool), filter_seen=model.repeats is None)
        fallback = train_item_counts(split)[1:].astype(np.float32)
        return recommend(scorer, fallback, batch, candidates, k)

    run_folder.write_json(
        folder / EVALUATION,
        evaluation_json(evaluation, floor, part="test", split=split.kind, fingerprint=facts.fingerprint),
    )
    name = Path(facts.source).name
    report = report_data(
        title=f"RecGRELA on {name}",
        command=facts.command,
        duration=duration(sum(epoch["seconds"] for epoch in epochs)) + " of training",
        model=model,
        split=split,
        titles=titles,
        window=facts.config.training.window,
        epochs=epochs,
        evaluation=evaluation,
        floor=floor,
        top=top,
        facts=[("log", name), *(("preparation", line) for line in facts.prepared)],
        config=facts.config.to_json(),
        environment=run_folder.environment(model.embedding.weight.device, kernels=scorer.form.name),
    )
    write_report(report, folder / REPORT)
    card = model_card(
        name=f"RecGRELA on {name}",
        command=facts.command,
        source=name,
        prepared=facts.prepared,
        model=model,
        split=split,
        evaluation=evaluation,
        floor=floor,
    )
    try:
        (folder / CARD).write_text(card, encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write {folder / CARD}: {error.strerror}; make room and repeat") from error


def evaluation_json(
    evaluation: Evaluation, floor: Evaluation, *, part: str, split: str, fingerprint: str
) -> dict[str, Any]:
    """An evaluation and its popularity floor as JSON's own types, with the split and its fingerprint."""
    popularity = floor.to_json()
    return {
        **evaluation.to_json(),
        "popularity": {view: popularity[view] for view in ("filtered", "unfiltered")},
        "part": part,
        "split": split,
        "fingerprint": fingerprint,
    }
