"""What the suite needs of the library, wherever a commit keeps it: older commits must run under today's suite.

One block for each thing that has moved, newest place first.
"""

from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.training.config import TrainingConfig
from grela.training.listener import Silence
from grela.training.loop import Training

try:  # up to commit 6fa9f07 the command line set the allocator by its environment; now training itself does
    from grela.cli.main import KEEP_FREED_MEMORY
except ImportError:
    KEEP_FREED_MEMORY: dict[str, str] = {}

try:
    from grela.training.prefixes import PrefixPlan, PrefixStep
    from grela.training.sequences import Plan, Step, TrainingSequences
    from grela.training.windows import WindowPlan
except ModuleNotFoundError as missing:  # up to commit 1f971ba
    if not str(missing.name).startswith("grela.training."):
        raise
    from grela.training.batches import Plan, PrefixPlan, PrefixStep, Step, TrainingSequences, WindowPlan

__all__ = [
    "KEEP_FREED_MEMORY",
    "Plan",
    "PrefixPlan",
    "PrefixStep",
    "RecGRELA",
    "RecGRELAConfig",
    "Silence",
    "Step",
    "Training",
    "TrainingConfig",
    "TrainingSequences",
    "WindowPlan",
]
