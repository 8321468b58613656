"""From histories to lists: by the model, or by popularity where nothing is known of a history."""

import numpy as np

from grela.data.histories import HistoryBatch
from grela.serving.ranking import Candidates, TopList, top_list
from grela.serving.scorer import ModelScorer
from grela.serving.top_k import top_k

# B histories, N items


def recommend(
    scorer: ModelScorer, fallback: np.ndarray, batch: HistoryBatch, candidates: Candidates, k: int
) -> list[TopList]:
    """The k best candidates for each history, in memory that does not grow with the catalogue.

    fallback: float [N], the scores for a history without events (cold start): popularity. Ties go to the
    smaller dense id.
    """
    warm = np.flatnonzero(batch.lengths)
    tops = [top_list(fallback, np.zeros(0, np.int64), candidates, k)] * len(batch)
    by_model = batch.take(warm)
    needs_met = candidates.filter_seen or scorer.model.repeats is not None
    met = scorer.met(by_model) if needs_met else None
    found = top_k(scorer.model, scorer.hidden(by_model), met, candidates, k)
    for b, top in zip(warm.tolist(), found, strict=True):
        tops[b] = top
    return tops
