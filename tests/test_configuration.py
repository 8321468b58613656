"""Settings are read whole or refused by name; what is not given keeps its default."""

import json
from dataclasses import fields, replace
from typing import get_args, get_type_hints

import pytest

from grela import Config, SplitConfig, TrainingConfig, read_config
from grela.configuration import WITHOUT_REPEATS, config_from
from grela.data.preparation import Preparation
from grela.errors import ConfigError
from grela.models.recgrela import RecGRELAConfig
from grela.training.config import LossName

TOML = """
[preparation]
min_item_events = 5

[split]
kind = "temporal"
valid_from = 2024-05-01
test_from = 2024-06-01T12:30:00Z

[model]
width = 32
dropout = 0

[training]
learning_rate = 1
epochs = 3
"""

EXPECTED = Config(
    preparation=Preparation(min_item_events=5),
    split=SplitConfig(kind="temporal", valid_from="2024-05-01", test_from="2024-06-01T12:30:00+00:00"),
    model=RecGRELAConfig(width=32, dropout=0.0),
    training=TrainingConfig(learning_rate=1.0, epochs=3),
)


def test_toml_is_read_and_the_rest_keeps_its_defaults(tmp_path):
    (tmp_path / "settings.toml").write_text(TOML)
    found = read_config(tmp_path / "settings.toml")
    assert found == EXPECTED
    assert type(found.training.learning_rate) is float
    assert type(found.model.dropout) is float


def test_json_is_read_as_toml_is(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps(EXPECTED.to_json()))
    assert read_config(tmp_path / "settings.json") == EXPECTED


def test_nothing_given_is_the_default(tmp_path):
    (tmp_path / "empty.toml").write_text("")
    (tmp_path / "empty.json").write_text("{}")
    assert read_config(tmp_path / "empty.toml") == read_config(tmp_path / "empty.json") == Config()


@pytest.mark.parametrize("config", [Config(), EXPECTED])
def test_to_json_and_back_gives_the_same(config):
    assert config_from(config.to_json()) == config
    assert config_from(json.loads(json.dumps(config.to_json()))) == config


SECTIONS = {
    "preparation": Preparation,
    "split": SplitConfig,
    "model": RecGRELAConfig,
    "training": TrainingConfig,
}
VALUES = ["12", 1.5, True, None, [1], {"a": 1}]


def fits(value: object, hint: object) -> bool:
    """Whether a value of another setting's type may stand here too."""
    if hint in (int, float, bool, str):
        return type(value) is hint
    is_time = float in get_args(hint)
    return is_time and not isinstance(value, bool | list | dict)


WRONG = [
    (section, f.name, value)
    for section, kind in SECTIONS.items()
    for f in fields(kind)
    for value in VALUES
    if not fits(value, get_type_hints(kind)[f.name])
]


@pytest.mark.parametrize(("section", "name", "value"), WRONG)
def test_a_value_of_another_type_is_refused_by_name(section, name, value):
    with pytest.raises(ConfigError, match=name):
        config_from({section: {name: value}})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"training": {"epoch": 3}}, r"unknown setting training\.epoch; expected one of .*epochs"),
        ({"trainig": {}}, "unknown setting trainig; expected one of model, preparation, split, training"),
        ({"training": 3}, r"training\. is 3, expected a table of settings|training is 3, expected a table"),
        ([], "the configuration is .*expected a table"),
        ({"training": {"learning_rate": 10**400}}, "learning_rate"),
        ({"training": {"learning_rate": float("nan")}}, "learning_rate is nan"),
        ({"training": {"epochs": 0}}, "epochs is 0, expected at least 1"),
        ({"training": {"seed": -1}}, "seed is -1"),
        ({"model": {"num_items": 5}}, "num_items is 5, but the log decides it; leave it out"),
        ({"model": {"dropout": 1}}, "dropout is 1.0"),
        ({"model": {"form": "sideways"}}, "form is 'sideways'"),
        (
            {"model": {"form": "bidirectional"}, "training": {"histories": "carried"}},
            "a bidirectional model has no state to carry",
        ),
        (
            {"training": {"loss": "softmax_without_seen"}},
            "loss is 'softmax_without_seen', which cannot teach a model what repeats are worth: set model.repeats",
        ),
        ({"training": {"loss": "scalable_cross_entropy"}}, "cannot teach a model what repeats are worth"),
        ({"model": {"next_gaps": 1}}, "next_gaps is 1, expected 0"),
        ({"model": {"after_next": -0.1}}, "after_next is -0.1, expected 0 .none. or a positive weight"),
        ({"preparation": {"repeats": "twice"}}, "repeats is 'twice', expected one of"),
        ({"preparation": {"min_user_events": 0}}, "min_user_events is 0"),
        ({"split": {"kind": "random"}}, "split kind is 'random'"),
        ({"split": {"kind": "temporal"}}, "needs both valid_from and test_from"),
        ({"split": {"kind": "temporal", "valid_from": 1}}, "needs both valid_from and test_from"),
        ({"split": {"test_from": 1}}, "belong to a temporal split"),
    ],
)
def test_nonsense_is_refused_by_name(values, message):
    with pytest.raises(ConfigError, match=message):
        config_from(values)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", b"[model", "not valid TOML"),
        ("a.json", b"{", "not valid JSON"),
        ("a.toml", b"\xff\xfe", "not valid TOML"),
        ("a.json", b"[1]", "expected a table"),
        ("a.json", b"null", "expected a table"),
        ("a.json", b"[" * 100_000, "not valid JSON"),
        ("a.toml", b"[model]\nwidth = 8\nwidth = 16", "not valid TOML"),
        ("a.toml", b"[training]\nepochs = 12:30:00", "epochs"),
        ("a.toml", b"[split]\nkind = 'temporal'\nvalid_from = 12:30:00\ntest_from = 3", "valid_from"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("loss", get_args(LossName))
def test_every_loss_trains_a_model_without_a_bias_and_all_that_can_teach_it_one_with(loss):
    plain = {"repeats": False, "next_gaps": 0}
    assert config_from({"model": plain, "training": {"loss": loss}}).training.loss == loss
    if loss not in (*WITHOUT_REPEATS, "gbce"):
        assert config_from({"training": {"loss": loss}}).model.repeats


@pytest.mark.parametrize("loss", WITHOUT_REPEATS)
def test_a_bias_for_repeats_needs_a_loss_that_has_seen_items_among_its_negatives(loss):
    with pytest.raises(ConfigError, match=rf"'{loss}'.*set model\.repeats = false"):
        config_from({"model": {"next_gaps": 0}, "training": {"loss": loss}})


@pytest.mark.parametrize("loss", ["gbce", "binary_cross_entropy"])
def test_a_mixture_needs_a_loss_that_teaches_a_distribution(loss):
    with pytest.raises(ConfigError, match=rf"'{loss}'.*set model\.next_gaps = 0"):
        config_from({"model": {"repeats": False}, "training": {"loss": loss}})


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(ConfigError, match="cannot read the configuration") as caught:
            read_config(path)
        assert str(path) in str(caught.value)


def test_settings_are_values_and_cannot_be_changed():
    with pytest.raises(AttributeError):
        Config().training.epochs = 3
    assert replace(Config(), split=SplitConfig()) == Config()
