"""A good model of a log the size of ML-1M in few minutes on two cores."""

from grela.configuration import Config
from grela.models.recgrela import RecGRELAConfig
from grela.training.config import TrainingConfig


def quick() -> Config:
    """Twelve epochs of many small steps, with items already seen left out of the softmax.

    For logs in which nobody meets an item twice, and recommendations that leave seen items out: what the
    model scores for seen items means nothing. Histories are not dropped: there are too few epochs to overfit.
    """
    return Config(
        model=RecGRELAConfig(drop_path=0.0),
        training=TrainingConfig(
            epochs=12,
            batch_positions=3_200,
            learning_rate=3e-3,
            warmup_steps=150,
            patience=0,
            loss="softmax_without_seen",
        ),
    )
