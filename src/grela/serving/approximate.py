"""An approximate list for catalogues beyond what one pass over the item table may cost: only where it is asked for.

The scores are those of `grela.serving.top_k`. What is approximate, and what is not:

- **Candidates.** A logit of class c is an inner product, q_c . w_i + b_i with q_c = h + M_c h: (q_c, s) . (w_i, b_i
/ s),
  the bias (less its mean) a coordinate, s the scale at which it spreads as the others do. So a history asks as many
  queries as there are classes, and what any of them finds is a candidate; so is whatever the history has met, whose
  raise no index knows. Largest inner products are nearest neighbours once every vector has one more coordinate that
  brings it to the longest one's length (Bachrach et al., RecSys 2014), and for those there is an index: lists around
  centres (faiss IndexIVFFlat), of which each query looks into `probes`. An item in no list looked into is missed.
- **Order.** Candidates are ranked by their own logits, exactly.
- **Normalisers.** A class's softmax sums over all items. Here it is the candidates' sum, exactly, and what the
others are
  estimated to add by a fixed sample of them. One history's scores of a class are off by one number; without classes of
  the next gap there is nothing to estimate, and scores are exact.

A history for which fewer than k candidates are found gets its list from `top_k`.

Why faiss (MIT; wheels for Linux, macOS and Windows; no dependency but numpy): of what it has, lists had a higher
recall than its graph (IndexHNSWFlat) in the same time, and half its time to build; docs/items.md has the figures.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grela.errors import ConfigError
from grela.models.recgrela import RecGRELA
from grela.ops.repeats import Met
from grela.serving.ranking import Candidates, TopList, top_list
from grela.serving.top_k import Logits, of_histories, top_k

# B histories, C classes, D width, N items, S items of the sample, n candidates of one history

PROBES = 128
SAMPLE = 4_096
LEAST_DEPTH, DEPTH_PER_ITEM = 40, 4  # what each query asks for,
MOST_FOR_MET = 200  # and for items met, which crowd the front and are often lowered or left out
FEWEST_OF_A_LIST = 39  # items; faiss warns below


@dataclass(frozen=True, eq=False)
class ApproximateIndex:
    """The index of one model's items; another model, or one with other items, needs another.

    index: of faiss; scale: s above, 0 without biases; length: that of all vectors; sample: places [S], ascending.
    """

    model: RecGRELA
    index: Any
    scale: float
    length: float
    sample: Tensor
    probes: int

    @staticmethod
    def of(model: RecGRELA, *, probes: int = PROBES, seed: int = 0) -> "ApproximateIndex":
        """Build it. probes: lists that a query looks into; more find more and take longer. `seed` draws centres and
        sample.

        Raises ConfigError where the extra `approximate` is not installed, or for fewer than one probe.
        """
        if probes < 1:
            raise ConfigError(f"probes is {probes}, expected at least 1 list to look into")
        faiss = _faiss()
        weights = model.item_weights.detach().float().cpu().numpy()
        biases = np.zeros(len(weights), np.float32)
        if model.item_bias is not None:
            biases = model.item_bias.of_items.detach().float().cpu().numpy()
        scale = float(np.sqrt(biases.std() / max(weights.std(), 1e-30)))
        vectors, length = lifted(weights, biases, scale)
        lists = max(1, min(int(4 * len(vectors) ** 0.5), len(vectors) // FEWEST_OF_A_LIST))
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatL2(vectors.shape[1]), vectors.shape[1], lists, faiss.METRIC_L2
        )
        index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = seed, 10, 64
        index.train(vectors)
        index.add(vectors)
        drawn = np.random.default_rng(seed).permutation(len(vectors))[:SAMPLE]
        return ApproximateIndex(model, index, scale, length, torch.from_numpy(np.sort(drawn)), probes)

    @torch.inference_mode()
    def top(self, hidden: Tensor, met: Met | None, candidates: Candidates, k: int) -> list[TopList]:
        """As `top_k` of this model, approximately: k items for each of hidden states [B, D]."""
        if met is None and (candidates.filter_seen or self.model.repeats is not None):
            raise ConfigError("what the histories have met decides the list: give `met`")
        if not len(hidden):
            return []
        logits = Logits.of(self.model, hidden, met, candidates)
        most_met = int(torch.bincount(logits.met_row, minlength=1).max())
        depth = max(LEAST_DEPTH, DEPTH_PER_ITEM * k) + min(most_met, MOST_FOR_MET)
        found = self._search(logits.queries, candidates, depth)
        of_sample_CBS = _of_sample(logits, self.sample)
        tops = []
        for b in range(len(hidden)):
            top = self._ranked(logits, b, found[b], of_sample_CBS[:, b], k)
            if len(top.items) < k:
                own = None if met is None else of_histories(met, b, b + 1)
                (top,) = top_k(self.model, hidden[b : b + 1], own, candidates, k)
            tops.append(top)
        return tops

    def _search(self, queries: Tensor, candidates: Candidates, depth: int) -> np.ndarray:
        """Places that the index finds for each history, -1 where it finds fewer: int64 [B, C * depth]."""
        faiss = _faiss()
        classes, batch, width = queries.shape
        flat = queries.float().cpu().numpy().reshape(classes * batch, width)
        asked = np.zeros((len(flat), width + 2), np.float32)
        asked[:, :width], asked[:, width] = flat, self.scale
        # Of vectors of one length the nearest are those of the largest product, however long the query is.
        asked *= self.length / np.maximum(np.linalg.norm(asked, axis=1, keepdims=True), 1e-30)
        bits = np.packbits(candidates.allowed, bitorder="little")
        selector = None if candidates.allowed.all() else faiss.IDSelectorBitmap(bits)
        settings = faiss.SearchParametersIVF(nprobe=self.probes, sel=selector)
        _, places = self.index.search(asked, min(depth, self.model.config.num_items), params=settings)
        of_each: np.ndarray = places.reshape(classes, batch, -1).transpose(1, 0, 2).reshape(batch, -1)
        return of_each

    def _ranked(self, logits: Logits, b: int, found: np.ndarray, of_sample_CS: Tensor, k: int) -> TopList:
        """One history's candidates by their scores."""
        met = logits.met_by(b)
        places = np.unique(np.concatenate([found[found >= 0], met]))
        if not len(places):
            return TopList(places, np.zeros(0, np.float32))
        at = torch.from_numpy(places).to(of_sample_CS.device)
        logits_Cn = logits.at(b, at)
        if logits.log_p is not None:
            total_C = _total(logits_Cn, at, of_sample_CS, self.sample.to(at.device), len(logits.weights))
            scores_n = (logits_Cn + (logits.log_p[:, b] - total_C).unsqueeze(1)).logsumexp(0)
        else:
            scores_n = logits_Cn[0]
        candidates = logits.candidates
        among = replace(candidates, allowed=candidates.allowed[places])
        seen = np.searchsorted(places, met) + 1
        top = top_list(scores_n.float().cpu().numpy(), seen, among, k)
        return TopList(places[top.items - 1] + 1, top.scores)


def lifted(weights: np.ndarray, biases: np.ndarray, scale: float) -> tuple[np.ndarray, float]:
    """(w, (b - mean) / s, what is missing to the longest one's length) of each item, [N, D + 2]; that length."""
    vectors = np.zeros((len(weights), weights.shape[1] + 2), np.float32)
    vectors[:, :-2] = weights
    if scale:
        vectors[:, -2] = (biases - biases.mean()) / scale
    squares = np.einsum("nd,nd->n", vectors, vectors)
    vectors[:, -1] = np.sqrt(np.maximum(squares.max() - squares, 0))
    return vectors, float(np.sqrt(squares.max()))


def _of_sample(logits: Logits, sample: Tensor) -> Tensor:
    """Logits [C, B, S] of the sample, of items as they are to who has not met them."""
    sample = sample.to(logits.weights.device)
    found = logits.queries @ logits.weights[sample].T
    return found if logits.bias is None else found + logits.bias[sample]


def _total(logits_Cn: Tensor, places: Tensor, of_sample_CS: Tensor, sample: Tensor, num_items: int) -> Tensor:
    """log of the sum over all items of exp(logit), [C]: of those at `places` exactly, of the others by the sample."""
    at = torch.searchsorted(places, sample).clamp(max=len(places) - 1)
    other = places[at] != sample
    exact_C = logits_Cn.logsumexp(1)
    left, drawn = num_items - len(places), int(other.sum())
    if not left or not drawn:
        return exact_C
    estimated_C = of_sample_CS[:, other].logsumexp(1) + float(np.log(left / drawn))
    return torch.logaddexp(exact_C, estimated_C)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ConfigError(
            f"faiss cannot be imported ({error}); install it: pip install 'grela[approximate]', or rank exactly"
        ) from error
    return faiss
