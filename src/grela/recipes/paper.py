"""The recipe of arXiv 2506.13315 for ML-1M, in the bidirectional form it describes, and what two cores can do of it."""

from dataclasses import replace

from grela.configuration import Config
from grela.models.recgrela import RecGRELAConfig
from grela.training.config import TrainingConfig


def paper() -> Config:
    """One sample per prefix, Adam at 1e-3 without decay of rate or weights, last 200 events, patience 10."""
    return Config(
        model=RecGRELAConfig(
            form="bidirectional",
            dropout=0.1,
            drop_path=0.1,
            gaps=False,
            repeats=False,
            item_bias=False,
            next_gaps=0,
            after_next=0.0,
        ),
        training=TrainingConfig(
            epochs=200,
            window=200,
            batch_positions=200 * 256,
            learning_rate=1e-3,
            schedule="constant",
            warmup_steps=0,
            weight_decay=0.0,
        ),
    )


def paper_on_two_cores() -> Config:
    """The paper's form and rate, made to end within the hour on ml-latest-small: the last 50 events, 12 epochs.

    One sample per prefix costs as many positions as the prefix has; 256 samples a step and a rate that
    falls to zero make up for the few epochs.
    """
    whole = paper()
    short = replace(
        whole.training, epochs=12, window=50, batch_positions=50 * 256, schedule="cosine", warmup_steps=100
    )
    return replace(whole, training=short)
