"""Named experiments, each a whole configuration."""

from collections.abc import Callable
from functools import partial

from grela.configuration import Config
from grela.errors import ConfigError
from grela.recipes.ideas import ABLATIONS, IDEAS, changed
from grela.recipes.paper import paper, paper_on_two_cores

RECIPES: dict[str, Callable[[], Config]] = {
    "paper": paper,
    "paper-on-two-cores": paper_on_two_cores,
    **{name: partial(changed, changes) for name, changes in {**IDEAS, **ABLATIONS}.items()},
}


def recipe(name: str) -> Config:
    """The configuration of a named experiment; raises ConfigError listing the names there are."""
    if name not in RECIPES:
        raise ConfigError(f"no recipe {name!r}; expected one of {', '.join(sorted(RECIPES))}")
    return RECIPES[name]()
