"""From histories to lists: by the model, or by popularity where nothing is known of a history."""

import numpy as np

from grela.data.histories import HistoryBatch
from grela.errors import ConfigError
from grela.serving.approximate import ApproximateIndex
from grela.serving.ranking import Candidates, TopList, top_list
from grela.serving.scorer import ModelScorer
from grela.serving.top_k import top_k

# B histories, N items


def recommend(
    scorer: ModelScorer,
    fallback: np.ndarray,
    batch: HistoryBatch,
    candidates: Candidates,
    k: int,
    *,
    index: ApproximateIndex | None = None,
) -> list[TopList]:
    """The k best candidates for each history, in memory that does not grow with the catalogue.

    fallback: float [N], the scores for a history without events (cold start): popularity. Ties go to the
    smaller dense id. index: of the scorer's model; with it the lists are approximate.
    """
    if index is not None and index.model is not scorer.model:
        raise ConfigError(
            "the approximate index is of another model, or of other items; make one of this recommender"
        )
    warm = np.flatnonzero(batch.lengths)
    tops = [top_list(fallback, np.zeros(0, np.int64), candidates, k)] * len(batch)
    by_model = batch.take(warm)
    needs_met = candidates.filter_seen or scorer.model.repeats is not None
    met = scorer.met(by_model) if needs_met else None
    hidden = scorer.hidden(by_model)
    given = hidden, met, candidates, k
    found = top_k(scorer.model, *given) if index is None else index.top(*given)
    for b, top in zip(warm.tolist(), found, strict=True):
        tops[b] = top
    return tops
