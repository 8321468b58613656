"""Do a run's data bear out what the paper says of its layers? Rank with and without the local branch; gate and bursts.

    python benchmarks/claims.py runs/ml-1m --json claims.json

The paper (arXiv 2506.13315, version 4, abstract) says that linear attention lacks rank, that the local branch adds it,
and that the gate selects between stable long-term preferences and short bursts of interest. Measured on the histories
before the test events of a run, whose targets are not read, in the run's model and in one of the same shape that has
learnt nothing:

    rank   the effective rank of each head's mixing matrix without and with the local branch
           (`grela.models.analysis`), in `--histories` users drawn among those with 200 events, or the longest
    gate   the mean |SiLU gate|, and the local branch's share of the energy behind it, in each layer, of the third of
           users with the steadiest and of that with the most bursty times (`burstiness.py`); thirds are taken within
           fifths of users by events read, so that both are equally long

Intervals are of bootstraps over histories or users and hold with 95 % for all heads, or for all layers, together.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from burstiness import (
    Estimate,
    Groups,
    burstiness,
    differences,
    matched_terciles,
    means,
    standardised,
    terciles,
)
from claims_words import gate_table, gate_verdict, rank_table, rank_verdict

from grela import Recommender
from grela.errors import GrelaError, RequestError
from grela.models.analysis import METHOD, POSITIONS, branch_shares, mixing_ranks
from grela.models.recgrela import RecGRELA

# C histories, U users, M layers, K heads of all layers

STRATA = 5
LEAST_GAPS = 10
LEAST_USERS = 6 * STRATA
MEASURES = {"gate": "mean |SiLU gate|", "local": "local branch's share of the energy behind the gate"}


class Histories:
    """The events before each test event that the layers are measured on: the last `most` of a history."""

    def __init__(self, recommender: Recommender) -> None:
        cases = recommender.split.cases("test")
        bidirectional = recommender.model.config.form == "bidirectional"
        window = recommender.facts.config.training.window if bidirectional else POSITIONS
        self.most = min(POSITIONS, window)
        self.batch = cases.batch

    @property
    def lengths(self) -> np.ndarray:
        """Events that are read, int64 [C]."""
        return np.minimum(self.batch.lengths, self.most)

    def times(self, c: int) -> np.ndarray:
        """Of the events that are read."""
        return self.batch.times[self.batch.end[c] - self.lengths[c] : self.batch.end[c]]

    def items_and_gaps(self, c: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """As `grela.models.analysis` takes them, of one history."""
        return [self.batch[c][-self.most :]], [self.batch.take(slice(c, c + 1)).gaps[-self.most :]]


def untrained(model: RecGRELA, seed: int) -> RecGRELA:
    """A model of the same shape with fresh weights."""
    return RecGRELA(model.config, rng=torch.Generator().manual_seed(seed))


def ranks(model: RecGRELA, histories: Histories, chosen: Sequence[int], tell: str) -> np.ndarray:
    """The effective rank of each head's mixing, float64 [C, K, 2]: without the local branch, and with it."""
    found = [
        [(r.without_local, r.with_local) for r in mixing_ranks(model, *histories.items_and_gaps(c))]
        for c in told(chosen, f"rank, {tell}")
    ]
    return np.array(found)


def gates(model: RecGRELA, histories: Histories, chosen: Sequence[int], tell: str) -> dict[str, np.ndarray]:
    """Both `MEASURES`, float64 [U, M] each."""
    found = [branch_shares(model, *histories.items_and_gaps(c)) for c in told(chosen, f"gate, {tell}")]
    return {
        "gate": np.array([[share.gate_open for share in shares] for shares in found]),
        "local": np.array([[share.local for share in shares] for shares in found]),
    }


def told(chosen: Sequence[int], what: str) -> Iterator[int]:
    """Each in turn; says every hundred on standard error."""
    for done, c in enumerate(chosen):
        if done % 100 == 0:
            print(f"{what}: {done:,} of {len(chosen):,}", file=sys.stderr)
        yield c


def rank_claim(
    models: dict[str, RecGRELA], histories: Histories, asked: argparse.Namespace
) -> dict[str, Any] | str:
    """What is found of the rank, or why it is not measured."""
    config = models["trained"].config
    if not config.local_branch:
        return "the model has no local branch: there is no rank to compare"
    rng = np.random.default_rng(asked.seed)
    full = np.flatnonzero(histories.lengths == histories.most)
    if len(full) >= asked.histories:
        chosen = np.sort(rng.choice(full, asked.histories, replace=False))
    else:
        chosen = np.sort(np.argsort(-histories.lengths, kind="stable")[: asked.histories])
    of = {name: ranks(model, histories, chosen.tolist(), name) for name, model in models.items()}
    raised = {name: found[:, :, 1] - found[:, :, 0] for name, found in of.items()}
    lengths = histories.lengths[chosen]
    return {
        "histories": len(chosen),
        "positions": [int(lengths.min()), int(lengths.max())],
        "head_width": config.width // config.heads,
        "causal": config.form == "causal",
        "heads": [
            {"layer": 1 + k // config.heads, "head": 1 + k % config.heads}
            for k in range(config.layers * config.heads)
        ],
        **{
            name: {
                "without": of[name][:, :, 0].mean(0).tolist(),
                "with": of[name][:, :, 1].mean(0).tolist(),
                "raised": estimates(means(raised[name], seed=asked.seed)),
            }
            for name in models
        },
        "raised_more": estimates(means(raised["trained"] - raised["untrained"], seed=asked.seed)),
    }


def gate_claim(
    models: dict[str, RecGRELA], histories: Histories, asked: argparse.Namespace
) -> dict[str, Any] | str:
    """What is found of the gate and of the local branch's share, or why they are not measured."""
    config = models["trained"].config
    measured = [name for name, there in (("gate", config.gate), ("local", config.local_branch)) if there]
    if not measured:
        return "the model has neither gate nor local branch: there is nothing that could answer to bursts"
    values = np.array([burstiness(histories.times(c)) for c in range(len(histories.batch))])
    known = np.flatnonzero(np.isfinite(values) & (histories.lengths > LEAST_GAPS))
    if len(known) < LEAST_USERS:
        raise RequestError(
            f"{len(known)} of {len(values)} test users have more than {LEAST_GAPS} events and times that pass; "
            f"groups of users need {LEAST_USERS} or more"
        )
    rng = np.random.default_rng(asked.seed)
    if len(known) > asked.users:
        known = np.sort(rng.choice(known, asked.users, replace=False))
    values, lengths = values[known], histories.lengths[known]
    of = {name: gates(model, histories, known.tolist(), name) for name, model in models.items()}
    matched, raw = matched_terciles(values, lengths, STRATA), terciles(values)
    found: dict[str, Any] = {
        "users": len(known),
        "left_out": len(histories.batch) - len(known),
        "reads_gaps": config.gaps,
        "groups": {
            name: described(groups, values, lengths) for name, groups in (("matched", matched), ("raw", raw))
        },
        "measures": {},
    }
    for measure in measured:
        in_spreads = {name: standardised(of[name][measure]) for name in models}
        found["measures"][measure] = {
            "name": MEASURES[measure],
            **{
                name: {
                    "steady": of[name][measure][matched.steady].mean(0).tolist(),
                    "bursty": of[name][measure][matched.bursty].mean(0).tolist(),
                    "spread": of[name][measure].std(0).tolist(),
                    "difference": estimates(differences(in_spreads[name], matched, seed=asked.seed)),
                    "difference_raw": estimates(differences(in_spreads[name], raw, seed=asked.seed)),
                }
                for name in models
            },
            "differs_more": estimates(
                differences(in_spreads["trained"] - in_spreads["untrained"], matched, seed=asked.seed)
            ),
        }
    return found


def described(groups: Groups, values: np.ndarray, lengths: np.ndarray) -> dict[str, Any]:
    """Who is in the groups: how many, how bursty, how many events of theirs are read."""
    return {
        name: {
            "users": len(of),
            "burstiness": float(values[of].mean()),
            "events_mean": float(lengths[of].mean()),
            "events_median": float(np.median(lengths[of])),
        }
        for name, of in (("steady", groups.steady), ("bursty", groups.bursty))
    }


def estimates(found: Sequence[Estimate]) -> list[dict[str, float]]:
    """As JSON has them."""
    return [asdict(one) for one in found]


def measured(recommender: Recommender, asked: argparse.Namespace) -> dict[str, Any]:
    """Both claims, with verdicts."""
    model = recommender.model.cpu()
    models = {"trained": model, "untrained": untrained(model, asked.seed)}
    histories = Histories(recommender)
    result: dict[str, Any] = {
        "benchmark": "claims",
        "run": str(asked.run),
        "fingerprint": recommender.facts.fingerprint,
        "seed": asked.seed,
        "method": METHOD,
    }
    claims: list[tuple[str, Callable[..., dict[str, Any] | str], Callable[..., Any]]] = [
        ("rank", rank_claim, rank_verdict),
        ("gate", gate_claim, gate_verdict),
    ]
    for name, claim, verdict in claims:
        found = claim(models, histories, asked)
        result[name] = (
            {"not_measured": found} if isinstance(found, str) else found | {"verdict": verdict(found)}
        )
    return result


def shown(result: dict[str, Any]) -> str:
    """All of it, for a person."""
    parts = [f"{result['run']}, fingerprint {result['fingerprint'][:12]}"]
    for name, table in (("rank", rank_table), ("gate", gate_table)):
        found = result[name]
        if "not_measured" in found:
            parts.append(f"{name}: {found['not_measured']}")
        else:
            parts += [table(found), *(one["words"] for one in found["verdict"])]
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 where the run cannot be measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--histories", type=int, default=100, help="histories whose ranks are measured")
    parser.add_argument("--users", type=int, default=2_000, help="users at most whose gates are measured")
    parser.add_argument(
        "--seed", type=int, default=0, help="of who is drawn, the untrained model, bootstraps"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="file to write")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    try:
        result = measured(Recommender.load(asked.run, device="cpu"), asked)
    except GrelaError as error:
        print(f"claims.py: {error}", file=sys.stderr)
        return 1
    print(shown(result))
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
