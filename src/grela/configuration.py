"""Everything that decides a fit, in one value; read from TOML or JSON, with every mistake named."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from datetime import date, time
from pathlib import Path
from typing import Any, Literal, get_type_hints

from grela.data.histories import Histories
from grela.data.preparation import Preparation
from grela.data.splitting import Split, leave_one_out, temporal
from grela.errors import ConfigError
from grela.models.recgrela import RecGRELAConfig
from grela.training.config import TrainingConfig

WITHOUT_REPEATS = ("softmax_without_seen", "binary_cross_entropy", "scalable_cross_entropy")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How histories are divided into training, validation and test.

    "leave-one-out": each user's last event tests, the one before validates. "temporal": what happened from
    `valid_from` on validates, from `test_from` on tests; numbers as in the log, or ISO 8601 where it has dates.
    """

    kind: Literal["leave-one-out", "temporal"] = "leave-one-out"
    valid_from: int | float | str | None = None
    test_from: int | float | str | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("leave-one-out", "temporal"):
            raise ConfigError(f"split kind is {self.kind!r}, expected 'leave-one-out' or 'temporal'")
        given = (self.valid_from is not None, self.test_from is not None)
        if self.kind == "temporal" and given != (True, True):
            raise ConfigError(
                "a temporal split needs both valid_from and test_from, the times where they start"
            )
        if self.kind == "leave-one-out" and any(given):
            raise ConfigError(
                "valid_from and test_from belong to a temporal split; this one is leave-one-out"
            )

    def apply(self, histories: Histories) -> Split:
        """The split of these histories."""
        if self.valid_from is None or self.test_from is None:
            return leave_one_out(histories)
        return temporal(histories, valid_from=self.valid_from, test_from=self.test_from)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Preparation, split, model and training; the defaults are those of `grela fit`."""

    preparation: Preparation = field(default_factory=Preparation)
    split: SplitConfig = field(default_factory=SplitConfig)
    model: RecGRELAConfig = field(default_factory=RecGRELAConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        for name in ("num_items", "added_items"):
            if getattr(self.model, name):
                raise ConfigError(
                    f"model.{name} is {getattr(self.model, name)}, but the log decides it; leave it out"
                )
        loss = self.training.loss
        if self.model.repeats and loss in WITHOUT_REPEATS:
            raise ConfigError(
                f"training.loss is {loss!r}, which cannot teach a model what repeats are worth: "
                "set model.repeats = false, or take another loss"
            )
        if self.model.next_gaps and loss in ("gbce", "binary_cross_entropy"):
            raise ConfigError(
                f"training.loss is {loss!r}, which teaches no distribution over items for model.next_gaps to mix: "
                "set model.next_gaps = 0, or take another loss"
            )
        if self.training.item_table == "sharded" and self.model.form != "causal":
            raise ConfigError(
                f"training.item_table is 'sharded', but the model is {self.model.form}: take the causal form"
            )
        if self.training.histories == "carried" and self.model.form != "causal":
            raise ConfigError(
                f"training.histories is 'carried', but a {self.model.form} model has no state to carry: "
                "leave it at 'windows', or take the causal form"
            )

    def to_json(self) -> dict[str, Any]:
        """Nested dicts of JSON's own types; `config_from` reads them back."""
        return asdict(self)


def read_config(path: Path) -> Config:
    """The configuration in a TOML or JSON file: tables [preparation], [split], [model], [training].

    What is not given keeps its default. Raises ConfigError naming the file and the mistake.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ConfigError(f"{path} is not valid {kind}: {error}") from error
    try:
        return config_from(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def config_from(values: Mapping[str, Any]) -> Config:
    """The configuration of nested mappings; raises ConfigError at an unknown name or a value of a wrong type."""
    config: Config = _build(Config, values, "")
    return config


def _build(kind: Any, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where or 'the configuration'} is {values!r}, expected a table of settings")
    known = {f.name for f in fields(kind)}
    for name in values:
        if name not in known:
            raise ConfigError(f"unknown setting {where}{name}; expected one of {', '.join(sorted(known))}")
    hints = get_type_hints(kind)
    checked = {}
    for name, value in values.items():
        if is_dataclass(hints[name]):
            checked[name] = _build(hints[name], value, f"{where}{name}.")
        else:
            checked[name] = _typed(value, hints[name], f"{where}{name}")
    return kind(**checked)


def _typed(value: Any, hint: Any, where: str) -> Any:
    """`value` if it is of the annotated type; integers pass as floats, TOML's dates as ISO 8601."""
    if isinstance(value, date):
        value = value.isoformat()
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return float(value)
    if hint in (int, float, bool, str):
        if type(value) is not hint:
            raise ConfigError(f"{where} is {value!r}, expected {hint.__name__}")
    elif isinstance(value, bool | list | dict | time):
        raise ConfigError(f"{where} is {value!r}, expected one of {hint}")
    return value
