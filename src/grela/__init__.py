"""Next-item recommendation for users with long histories, by RecGRELA (arXiv 2506.13315).

Names are imported when first used, so that `import grela` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from grela.configuration import Config, SplitConfig, read_config
    from grela.data.events import Events, read_events
    from grela.data.preparation import Preparation
    from grela.errors import GrelaError
    from grela.evaluation.evaluate import evaluate
    from grela.evaluation.evaluation import Evaluation, compare
    from grela.evaluation.scorer import Scorer
    from grela.models.recgrela import RecGRELA, RecGRELAConfig
    from grela.recommender import Recommender
    from grela.serving.recommendation import Recommendation, Recommended
    from grela.training.config import TrainingConfig

_HOME = {
    "Config": "grela.configuration",
    "Evaluation": "grela.evaluation.evaluation",
    "Events": "grela.data.events",
    "GrelaError": "grela.errors",
    "Preparation": "grela.data.preparation",
    "RecGRELA": "grela.models.recgrela",
    "RecGRELAConfig": "grela.models.recgrela",
    "Recommendation": "grela.serving.recommendation",
    "Recommended": "grela.serving.recommendation",
    "Recommender": "grela.recommender",
    "Scorer": "grela.evaluation.scorer",
    "SplitConfig": "grela.configuration",
    "TrainingConfig": "grela.training.config",
    "compare": "grela.evaluation.evaluation",
    "evaluate": "grela.evaluation.evaluate",
    "read_config": "grela.configuration",
    "read_events": "grela.data.events",
}

__all__ = [
    "Config",
    "Evaluation",
    "Events",
    "GrelaError",
    "Preparation",
    "RecGRELA",
    "RecGRELAConfig",
    "Recommendation",
    "Recommended",
    "Recommender",
    "Scorer",
    "SplitConfig",
    "TrainingConfig",
    "__version__",
    "compare",
    "evaluate",
    "read_config",
    "read_events",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'grela' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
