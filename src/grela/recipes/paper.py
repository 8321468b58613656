"""The recipe of arXiv 2506.13315 for ML-1M, in the bidirectional form it describes."""

from grela.configuration import Config
from grela.models.recgrela import RecGRELAConfig
from grela.training.config import TrainingConfig


def paper() -> Config:
    """One sample per prefix, Adam at 1e-3 without decay of rate or weights, last 200 events, patience 10."""
    return Config(
        model=RecGRELAConfig(form="bidirectional"),
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
