"""BERT4Rec is trained by the loop of all models: windows become samples with masks."""

import numpy as np
import torch
from training_cases import ITEMS, Ear, cyclic_sequences

from grela.data.histories import HistoryBatch
from grela.models.bert4rec import BERT4Rec, BERT4RecConfig
from grela.serving.scorer import WindowScorer
from grela.training.config import TrainingConfig
from grela.training.loop import Training
from grela.training.rows_of_windows import windows_of
from grela.training.windows import WindowPlan


def test_a_window_of_the_plan_is_a_sample_with_its_last_target():
    sequences = cyclic_sequences(30)
    row = next(WindowPlan(sequences, 9, 96, 0).epoch(0)).rows[0]
    given = windows_of(row, sequences, with_times=False)
    config = BERT4RecConfig(width=8, positions=9, masked=1.0, last_alone=0.0)
    taught = BERT4Rec(ITEMS, config, rng=torch.Generator()).learn(given, torch.Generator())
    samples = torch.split(taught.items, (given.histories.lengths + 1).tolist())
    for sample in samples:
        assert torch.equal(sample[:-1] % ITEMS + 1, sample[1:])
    assert sum(map(len, samples)) == len(taught.items)


def test_it_learns_a_cycle_from_masked_items():
    """Each item is always followed by the next: chance finds 1 in 23."""
    sequences, window = cyclic_sequences(300), 6
    config = BERT4RecConfig(width=32, layers=1, inner_width=32, dropout=0.0, positions=window)
    model = BERT4Rec(ITEMS, config, rng=torch.Generator().manual_seed(0))
    starts = [np.arange(k, k + 4) % ITEMS + 1 for k in range(ITEMS)]

    def found(model) -> dict[str, float]:
        best = WindowScorer(model, window=window).scores(HistoryBatch.of(starts)).argmax(1)
        return {"filtered/ndcg@10": float((best == (np.arange(ITEMS) + 4) % ITEMS).mean())}

    settings = TrainingConfig(
        epochs=30, window=window, batch_positions=384, learning_rate=2e-2, precision="fp32", patience=0
    )
    plan = WindowPlan(sequences, window, 384, 0)
    progress = Training(model, plan, settings, folder=None, validate=found, listener=Ear()).run()
    assert progress.best > 0.9
