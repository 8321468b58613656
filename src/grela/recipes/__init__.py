"""Named experiments: one function each, returning the whole configuration."""

from collections.abc import Callable

from grela.configuration import Config
from grela.errors import ConfigError
from grela.recipes.paper import paper, paper_on_two_cores
from grela.recipes.quick import quick

RECIPES: dict[str, Callable[[], Config]] = {
    function.__name__.replace("_", "-"): function for function in (quick, paper, paper_on_two_cores)
}


def recipe(name: str) -> Config:
    """The configuration of a named experiment; raises ConfigError listing the names there are."""
    if name not in RECIPES:
        raise ConfigError(f"no recipe {name!r}; expected one of {', '.join(sorted(RECIPES))}")
    return RECIPES[name]()
