"""A recipe is a named function that returns the whole configuration."""

from pathlib import Path

import pytest

from grela.configuration import Config, config_from, read_config
from grela.errors import ConfigError
from grela.recipes import RECIPES, recipe

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_documented_configuration_that_can_be_written_down(name):
    config = recipe(name)
    assert isinstance(config, Config)
    assert config_from(config.to_json()) == config
    assert RECIPES[name].__doc__
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")


def test_the_settings_that_the_page_shows_are_the_defaults(tmp_path):
    (tmp_path / "settings.toml").write_text(
        PAGE.read_text(encoding="utf-8").split("```toml")[1].split("```")[0]
    )
    assert read_config(tmp_path / "settings.toml") == Config()


def test_an_unknown_recipe_names_those_there_are():
    with pytest.raises(ConfigError, match="no recipe 'cake'") as caught:
        recipe("cake")
    assert all(name in str(caught.value) for name in RECIPES)


def test_the_papers_recipe_is_what_the_paper_says():
    """Section 4.1.4 of arXiv 2506.13315 for ML-1M: Adam at 1e-3, histories of 200, patience of 10."""
    config = recipe("paper")
    assert (config.model.form, config.model.width, config.model.taps) == ("bidirectional", 64, 4)
    training = config.training
    assert (training.learning_rate, training.schedule, training.weight_decay) == (1e-3, "constant", 0.0)
    assert (training.window, training.patience) == (200, 10)
