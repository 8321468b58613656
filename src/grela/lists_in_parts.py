"""Lists for all users of a run, a share of the users at a time: no worker holds more than its share.

lists-00003-of-00016.parquet   user, rank (from 1), item, score, as `Recommender.recommend_to_parquet` has them
manifest.json                  fingerprints of run and weights, k, filter_seen, and rows and users of each file

Shares are whole blocks of the users that go through the model together, in the order of the run, so that the files one
after the other hold what `recommend_to_parquet` writes, bit for bit on the same kind of processor.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from grela.catalogue import ItemChanges, changed_histories
from grela.data.parts.layout import MANIFEST, part_name, sha256
from grela.errors import ConfigError, RunError
from grela.fitting import pick_device
from grela.item_changes import read_item_changes
from grela.models.forms import TORCH, choose_form
from grela.models.io import saved_digest
from grela.models.new_items import with_rows
from grela.run_data import num_users, read_items, read_model, read_users
from grela.run_folder import RunFacts, finished_facts, write_json
from grela.serving.parquet import write_lists
from grela.serving.ranking import HISTORIES
from grela.serving.request import candidates, checked_k
from grela.serving.scorer import ModelScorer
from grela.workers.protocol import OneProcess, Workers, whole_file, work_folder

FORMAT = 1


@dataclass(frozen=True)
class Lists:
    """What all parts know: the run and the digest of its weights, where files go, and what is asked for."""

    run: Path
    weights: str
    out: Path
    work: Path
    parts: int
    k: int
    filter_seen: bool | None
    device: str


@dataclass(frozen=True)
class ListFile:
    """A part's file: name, users, rows, SHA-256 of its bytes."""

    file: str
    users: int
    rows: int
    sha256: str


def recommend_in_parts(
    run: Path,
    out: Path,
    *,
    parts: int,
    k: int = 10,
    filter_seen: bool | None = None,
    device: str = "auto",
    workers: Workers | None = None,
) -> list[ListFile]:
    """Write the k best items of every user of the run to the new folder `out`, in up to `parts` files.

    workers: who does it, this process if None. Raises what `Recommender.load` raises, ConfigError for a number of parts
    below 1, DataError for a folder that is not empty.
    """
    if isinstance(parts, bool) or not isinstance(parts, int) or not 1 <= parts <= 99_999:
        raise ConfigError(f"the number of parts is {parts!r}, expected a whole number from 1 to 99999")
    facts = finished_facts(run)
    shares = _shares(num_users(run), parts)
    weights = saved_digest(run)
    k = checked_k(k)
    with work_folder(out) as work:
        lists = Lists(run, weights, out, work, len(shares), k, filter_seen, device)
        tasks = [(lists, part, low, high) for part, (low, high) in enumerate(shares)]
        done = (workers or OneProcess()).run(write_share, tasks)
        _opened.cache_clear()
    asked = {"fingerprint": facts.fingerprint, "model": weights, "k": k, "filter_seen": filter_seen}
    write_json(out / MANIFEST, {"format": FORMAT, **asked, "files": [asdict(one) for one in done]})
    return done


@dataclass(frozen=True, eq=False)
class _Opened:
    """A run without its histories: model as changed, the run's own catalogue with its counts, the changes."""

    facts: RunFacts
    scorer: ModelScorer
    items: pa.Table
    changes: ItemChanges

    @property
    def fallback(self) -> np.ndarray:
        """Scores for an empty history, [N]: popularity in training, 0 for what was added since."""
        counts = self.items["train_events"].to_numpy()
        return np.concatenate([counts, np.zeros(len(self.changes.added))]).astype(np.float32)


def write_share(lists: Lists, part: int, low: int, high: int) -> ListFile:
    """Write the lists of users low..high-1 of the run."""
    run = _opened(lists)
    as_trained = read_users(lists.run, run.items, run.facts.time_unit, low, high)
    histories = changed_histories(as_trained, run.changes)
    filters = run.scorer.model.repeats is None if lists.filter_seen is None else lists.filter_seen
    chosen = candidates(histories, None, (), filter_seen=filters)
    name = part_name(part, lists.parts, "lists")
    with whole_file(lists.out / name, lists.work) as fresh:
        users = np.arange(len(histories))
        rows = write_lists(fresh, run.scorer, run.fallback, histories, users, chosen, lists.k)
        return ListFile(name, len(histories), rows, sha256(fresh))


@lru_cache(maxsize=1)
def _opened(lists: Lists) -> _Opened:
    """The run, once for all parts that one process writes."""
    facts, items = finished_facts(lists.run), read_items(lists.run)
    model = read_model(lists.run, facts, len(items)).to(pick_device(lists.device))
    weights = saved_digest(lists.run)
    if weights != lists.weights:
        raise RunError(f"the run {lists.run} was changed while lists were made from it; repeat the command")
    changes, _ = read_item_changes(lists.run, model=weights, width=model.config.width)
    if changes.added:
        model = with_rows(model, changes.rows)
    training = facts.config.training
    form = TORCH if training.kernels == "torch" else choose_form(model, "auto", compile_now=False)
    return _Opened(facts, ModelScorer(model, window=training.window, form=form), items, changes)


def _shares(users: int, parts: int) -> list[tuple[int, int]]:
    """Ranges of users, whole blocks of `HISTORIES` each but for the last, as equal as that allows."""
    blocks = -(-users // HISTORIES)
    bounds = [blocks * part // min(parts, blocks) * HISTORIES for part in range(min(parts, blocks))]
    return list(pairwise([*bounds, users]))
