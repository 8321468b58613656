"""The k best items of a catalogue of any size, exactly, in memory that does not grow with it.

    score(i) = h . w_i + b_i + r_i                                      without classes of the next gap
    score(i) = log of the sum over classes c of exp(a_c + l_c(i))       with them (`grela.nn.next_gap`)

    l_c(i) = (h + M_c h) . w_i + b_i + r_i,   a_c = log p(c | h) - log of the sum over ALL items of exp(l_c)

The definition is `plain`: the matrix of all scores (`RecGRELA.scores`), then `top_items`. Beyond one block of items
that matrix is never formed. One pass over the item table sums up each class's softmax and keeps, for each group of
items, the largest logit of each class among those that may be shown. Together they bound the group's scores:

    score(i) <= log of the sum over classes c of exp(a_c + max of l_c in i's group)

so groups are looked into in the order of their bounds until the k-th best score found is above all bounds that are
left. What is looked into is some k groups of `GROUP` items, whatever the catalogue has. (Bounds instead of a second
pass, as in the threshold algorithm of Fagin, Lotem and Naor, PODS 2001, with groups in place of single items.)
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grela.errors import ConfigError, RequestError
from grela.evaluation.lists import top_items
from grela.models.recgrela import RecGRELA
from grela.ops.repeats import Met
from grela.serving.ranking import Candidates, TopList, top_list

# B histories, C classes (1 without them), D width, N items, G groups, n places of a block or of some groups

ONE_BLOCK = 16_384  # items; up to here the matrix of scores is the faster form
GROUP = 512  # items
HISTORIES = 256  # at a time
LOGITS = 1_000_000  # of all classes and histories of a block at a time: what a processor's cache holds
# An item's logits in products of other shapes differ by rounding, by far less than this and this share of a score.
SLACK, RELATIVE_SLACK = 1e-2, 1e-4


def top_k(
    model: RecGRELA,
    hidden: Tensor,
    met: Met | None,
    candidates: Candidates,
    k: int,
    *,
    one_block: int = ONE_BLOCK,
) -> list[TopList]:
    """The k best items for each of hidden states [B, D]; ties go to the smaller dense id.

    met: what each history has met; None is enough for a model without `repeats` where nothing seen is filtered
    one_block: a catalogue of at most so many items is scored as one matrix

    Scores are those of `RecGRELA.scores`, to 1e-5 of their size. RequestError for a k below 1.
    """
    if k < 1:
        raise RequestError(f"k is {k}, expected at least 1")
    if met is None and (candidates.filter_seen or model.repeats is not None):
        raise ConfigError("what the histories have met decides the list: give `met`")
    form = plain if model.config.num_items <= one_block else blocked
    found: list[TopList] = []
    for low in range(0, len(hidden), HISTORIES):
        part = hidden[low : low + HISTORIES]
        of_part = None if met is None else of_histories(met, low, low + len(part))
        found += form(model, part, of_part, candidates, k)
    return found


@torch.inference_mode()
def plain(model: RecGRELA, hidden: Tensor, met: Met | None, candidates: Candidates, k: int) -> list[TopList]:
    """The definition of `top_k`: all scores, then each row's best."""
    scores_BN = model.scores_with(hidden, met).cpu().numpy()
    nothing = [np.zeros(0, np.int64)] * len(hidden)
    seen = nothing if met is None else _by_history(met, len(hidden))
    return [top_list(scores_N, items, candidates, k) for scores_N, items in zip(scores_BN, seen, strict=True)]


def _by_history(met: Met, histories: int) -> list[np.ndarray]:
    """The items met by each history."""
    position, item = met.position.cpu().numpy(), met.item.cpu().numpy()
    order = np.argsort(position, kind="stable")
    ends = np.searchsorted(position[order], np.arange(histories), side="right")
    return np.split(item[order], ends)[:histories]


@torch.inference_mode()
def blocked(
    model: RecGRELA, hidden: Tensor, met: Met | None, candidates: Candidates, k: int
) -> list[TopList]:
    """`plain` by bounds of groups of items: see above."""
    logits = Logits.of(model, hidden, met, candidates)
    add_CB, most_CBG = _scan(logits)
    bounds_BG = _joined(most_CBG, add_CB).cpu().numpy()
    return [_look(logits, b, add_CB[:, b], bounds_BG[b], k) for b in range(len(hidden))]


@dataclass(frozen=True, eq=False)
class Logits:
    """Where logits come from: queries [C, B, D], the item table, and what each history has met, by item.

    log_p: log p(c | h), [C, B], None without classes. Pairs of a history and an
    item that it has met lie in the order of the items: met_row, met_place (item - 1), and what met_raise adds to the
    logit.
    """

    queries: Tensor
    weights: Tensor
    bias: Tensor | None
    log_p: Tensor | None
    candidates: Candidates
    met_row: Tensor
    met_place: Tensor
    met_raise: Tensor

    @staticmethod
    def of(model: RecGRELA, hidden: Tensor, met: Met | None, candidates: Candidates) -> "Logits":
        """The queries of each class, and what was met in the order of the items."""
        queries, log_p = hidden.unsqueeze(0), None
        if model.next_gap is not None:
            classes = range(len(model.next_gap.maps))
            queries = torch.stack([model.next_gap.of_class(hidden, number) for number in classes])
            log_p = model.next_gap.log_probabilities(hidden).T
        met = (met or _nothing()).to(hidden.device)
        order = torch.argsort(met.item, stable=True)
        raised = torch.zeros(len(order), device=hidden.device)
        if model.repeats is not None:
            raised = met.bias(model.repeats.bias)
        return Logits(
            queries=queries,
            weights=model.item_weights,
            bias=None if model.item_bias is None else model.item_bias.of_items,
            log_p=log_p,
            candidates=candidates,
            met_row=met.position[order],
            met_place=met.item[order] - 1,
            met_raise=raised[order],
        )

    def between(self, low: int, high: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Logits [C, B, high - low] of adjacent places, and which (history, place - low) of them were met."""
        classes, batch, width = self.queries.shape
        logits = self.queries.reshape(classes * batch, width) @ self.weights[low:high].T
        if self.bias is not None:
            logits += self.bias[low:high]
        logits_CBn = logits.view(classes, batch, high - low)
        ends = torch.tensor([low, high], device=self.met_place.device)
        first, last = torch.searchsorted(self.met_place, ends).tolist()
        row, place = self.met_row[first:last], self.met_place[first:last] - low
        logits_CBn[:, row, place] += self.met_raise[first:last]
        return logits_CBn, (row, place)

    def at(self, b: int, places: Tensor) -> Tensor:
        """Logits [C, n] of one history at ascending places [n]."""
        logits_Cn = self.queries[:, b] @ self.weights[places].T
        if self.bias is not None:
            logits_Cn += self.bias[places]
        own = self.met_row == b
        met, raised = self.met_place[own], self.met_raise[own]
        at = torch.searchsorted(places, met).clamp(max=len(places) - 1)
        here = places[at] == met
        logits_Cn[:, at[here]] += raised[here]
        return logits_Cn

    def met_by(self, b: int) -> np.ndarray:
        """Places that history b has met."""
        places: np.ndarray = self.met_place[self.met_row == b].cpu().numpy()
        return places


def _scan(logits: Logits) -> tuple[Tensor, Tensor]:
    """a_c [C, B] of each history, and the largest logit [C, B, G] in each group of what may be shown."""
    classes, batch, _ = logits.queries.shape
    num_items = len(logits.weights)
    most = logits.queries.new_empty(classes, batch, -(-num_items // GROUP))
    total = logits.queries.new_full((classes, batch), -torch.inf)
    for low, high in _blocks(num_items, classes * batch):
        logits_CBn, met = logits.between(low, high)
        if logits.log_p is not None:
            total = torch.logaddexp(total, logits_CBn.logsumexp(-1))
        if not logits.candidates.allowed[low:high].all():
            forbidden = torch.from_numpy(~logits.candidates.allowed[low:high]).to(logits_CBn.device)
            logits_CBn.masked_fill_(forbidden, -torch.inf)
        if logits.candidates.filter_seen:
            logits_CBn[:, met[0], met[1]] = -torch.inf
        most[..., low // GROUP : -(-high // GROUP)] = _group_maxima(logits_CBn)
    return (torch.zeros_like(total) if logits.log_p is None else logits.log_p - total), most


def _blocks(num_items: int, rows: int) -> Iterator[tuple[int, int]]:
    """Whole groups of items whose logits for so many rows are at most `LOGITS`, or one group."""
    size = max(1, LOGITS // (rows * GROUP)) * GROUP
    for low in range(0, num_items, size):
        yield low, min(low + size, num_items)


def _group_maxima(logits_CBn: Tensor) -> Tensor:
    whole = logits_CBn.shape[-1] // GROUP * GROUP
    maxima: Tensor = logits_CBn[..., :whole].unflatten(-1, (-1, GROUP)).amax(-1)
    if whole == logits_CBn.shape[-1]:
        return maxima
    return torch.cat((maxima, logits_CBn[..., whole:].amax(-1, keepdim=True)), -1)


def _joined(logits_CBn: Tensor, add_CB: Tensor) -> Tensor:
    """Scores [B, n] of logits of each class."""
    added = logits_CBn + add_CB.unsqueeze(-1)
    return added[0] if len(added) == 1 else added.logsumexp(0)


def _look(logits: Logits, b: int, add_C: Tensor, bounds_G: np.ndarray, k: int) -> TopList:
    """One history's list: groups of descending bounds, until nothing that is left can reach the k-th score."""
    order = np.argsort(-bounds_G, kind="stable")
    order = order[bounds_G[order] > -np.inf]
    met = logits.met_by(b) if logits.candidates.filter_seen else np.zeros(0, np.int64)
    places, scores = np.zeros(0, np.int64), np.zeros(0, np.float32)
    for low in range(0, len(order), k):
        if len(places) == k and scores.min() - _slack(scores.min()) > bounds_G[order[low]]:
            break
        more = _shown(order[low : low + k], logits.candidates.allowed, met)
        tensor = torch.from_numpy(more).to(add_C.device)
        of_more = _joined(logits.at(b, tensor).unsqueeze(1), add_C.unsqueeze(1))[0]
        places, scores = np.append(places, more), np.append(scores, of_more.cpu().numpy())
        by_place = np.argsort(places)
        places, scores = places[by_place], scores[by_place]
        best = top_items(scores, k) - 1
        places, scores = places[best], scores[best]
    return TopList(places + 1, scores)


def _slack(score: float) -> float:
    return SLACK + RELATIVE_SLACK * abs(float(score))


def _shown(groups: np.ndarray, allowed: np.ndarray, met: np.ndarray) -> np.ndarray:
    """The places, ascending, of some groups' items that may be shown."""
    places: np.ndarray = (np.sort(groups)[:, None] * GROUP + np.arange(GROUP)).ravel()
    places = places[places < len(allowed)]
    places = places[allowed[places]]
    return places[~np.isin(places, met)] if len(met) else places


def of_histories(met: Met, low: int, high: int) -> Met:
    """What histories low..high - 1 have met, counted from 0."""
    here = (met.position >= low) & (met.position < high)
    return Met(met.position[here] - low, met.item[here], met.counts[here], met.ages[here])


def _nothing() -> Met:
    empty = torch.zeros(0, dtype=torch.int64)
    return Met(empty, empty, empty, empty)
