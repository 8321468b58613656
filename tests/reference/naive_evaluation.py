"""The evaluation protocol written out in plain Python, float64, one user after another, by sorting.

It shares no code and no idea with `grela.evaluation`, which counts instead of sorting.
"""

import math

MISS = math.inf


def ranks(scores, targets, forbidden):
    """Ascending ranks of one user's distinct targets; `scores[j]` is item j + 1."""
    targets = set(targets)
    candidates = [item for item in range(1, len(scores) + 1) if item not in forbidden]
    # Ties: items that are no targets first, so that ties count against the model.
    candidates.sort(key=lambda item: (-scores[item - 1], item in targets))
    found = [place for place, item in enumerate(candidates, start=1) if item in targets]
    return found + [MISS] * (len(targets) - len(found))


def top_list(scores, forbidden, k):
    """The k best items, tied ones by id."""
    candidates = [item for item in range(1, len(scores) + 1) if item not in forbidden]
    return sorted(candidates, key=lambda item: (-scores[item - 1], item))[:k]


def accuracy(user_ranks, k):
    """hr, ndcg, mrr, recall and precision at k of one user."""
    hits = [rank for rank in user_ranks if rank <= k]
    gain = sum(1 / math.log2(rank + 1) for rank in hits)
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(user_ranks)) + 1))
    return {
        f"hr@{k}": 1.0 if hits else 0.0,
        f"ndcg@{k}": gain / ideal,
        f"mrr@{k}": 1 / min(hits) if hits else 0.0,
        f"recall@{k}": len(hits) / len(user_ranks),
        f"precision@{k}": len(hits) / k,
    }


def mean(values):
    """The mean, or NaN of nothing."""
    return math.fsum(values) / len(values) if values else math.nan


def evaluate(scores, histories, targets, train_counts, ks, lists_k):
    """{"filtered": {...}, "unfiltered": {...}} from lists of lists; `train_counts[i]` belongs to item i."""
    found = {}
    for view in ("filtered", "unfiltered"):
        forbidden = [set(history) if view == "filtered" else set() for history in histories]
        rows = []
        for u in range(len(scores)):
            user_ranks = ranks(scores[u], targets[u], forbidden[u])
            row = {"mrr": 0.0 if user_ranks[0] == MISS else 1 / user_ranks[0]}
            for k in ks:
                row |= accuracy(user_ranks, k)
            rows.append(row)
        lists = [top_list(scores[u], forbidden[u], lists_k) for u in range(len(scores))]
        found[view] = {name: mean([row[name] for row in rows]) for name in rows[0]}
        found[view] |= beyond(lists, histories, train_counts, len(scores[0]), lists_k)
    return found


def beyond(lists, histories, train_counts, num_items, k):
    """coverage, novelty and popularity bias of all users' lists."""
    events = sum(train_counts)
    surprise = [
        mean([-math.log2(max(train_counts[item], 1) / events) for item in items]) for items in lists if items
    ]
    pairs = [
        (mean([train_counts[item] for item in items]), mean([train_counts[item] for item in history]))
        for items, history in zip(lists, histories, strict=True)
        if items and history
    ]
    listed, lived = mean([a for a, _ in pairs]), mean([b for _, b in pairs])
    return {
        f"coverage@{k}": len({item for items in lists for item in items}) / num_items,
        f"novelty@{k}": mean(surprise),
        f"popularity_bias@{k}": (listed - lived) / lived if lived else math.nan,
    }
