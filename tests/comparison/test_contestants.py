"""Every name stands for a model with a source, on the page, that can be made for a split."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from comparison_cases import small_log

from grela.comparison.contestants import CONTESTANTS, Floor, Ours, Rival, contestant
from grela.comparison.measuring import trainable
from grela.comparison.tuning import own_settings
from grela.data.events import read_events
from grela.data.preparation import Preparation, prepare
from grela.data.splitting import leave_one_out
from grela.errors import ConfigError
from grela.training.listener import Silence
from grela.training.loop import Training
from grela.training.rows_of_windows import windows_of

PAGE = Path(__file__).parents[2] / "docs" / "compare.md"
CPU = torch.device("cpu")
LIBRARIES = {"implicit-als": "implicit", "lenskit-knn": "lenskit"}


@pytest.fixture(scope="module")
def split():
    return leave_one_out(prepare(read_events(small_log()), Preparation())[0])


@pytest.mark.parametrize("name", CONTESTANTS)
def test_every_name_has_a_source_and_is_on_the_page(name):
    assert len(contestant(name).source) > 10
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name, one in CONTESTANTS.items() if isinstance(one, Rival)])
def test_a_rival_in_its_own_size_learns_from_the_split(name, split):
    task = trainable(contestant(name), split, 3, CPU)
    model, again = task.make(), task.make()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    row = next(task.plan.epoch(0)).rows[0]
    windows = windows_of(row, task.plan.sequences, with_times=model.reads_times)
    taught = model.learn(windows, torch.Generator())
    assert taught.hidden.isfinite().all()
    assert 1 <= taught.items.min() <= taught.items.max() <= split.histories.num_items
    cases = split.cases("valid")
    found = task.scorer_of(model).scores(cases.batch)
    assert found.shape == (len(cases), split.histories.num_items)
    assert np.isfinite(found).all()
    assert own_settings(contestant(name))["learning_rate"] == task.training.learning_rate


TRAINED = [name for name, one in CONTESTANTS.items() if not isinstance(one, Floor)]


@pytest.mark.parametrize("name", [*TRAINED, "recgrela:bidirectional", "recgrela:without-gate"])
def test_weights_change_as_adamw_changes_each_number(name, split, device):
    """By the same gradients, one tensor after the other as its indices say, however it lies in memory."""
    task = trainable(contestant(name), split, 3, device)

    def training() -> Training:
        return Training(task.make(), task.plan, task.training, folder=None, validate=None, listener=Silence())

    ours, plain = training(), training()
    for group in (group for optimiser in plain.optimisers for group in optimiser.param_groups):
        group |= {"fused": False, "foreach": False}
    update = ours._update

    def both(gradients: list[torch.Tensor]) -> None:
        plain._set_rate()
        plain._update([gradient.clone() for gradient in gradients])
        plain.progress.step += 1
        update(gradients)

    ours._update = both
    step = next(task.plan.epoch(0))
    for _ in range(2):
        ours.one_step(step)
        ours.progress.step += 1
    for (at, found), expected in zip(ours.model.named_parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6, msg=lambda w, at=at: f"{at}: {w}")


@pytest.mark.parametrize("name", [name for name, one in CONTESTANTS.items() if isinstance(one, Floor)])
def test_a_floor_is_fitted_from_the_split(name, split):
    library = LIBRARIES.get(name)
    if library is not None and find_spec(library) is None:
        with pytest.raises(ConfigError, match=rf"{library}'s, which is not installed.*grela\[rivals\]"):
            contestant(name).fit(split)
        pytest.skip(f"{library} is not installed")
    found = contestant(name).fit(split).scores(split.cases("valid").batch)
    assert found.shape == (len(split.cases("valid")), split.histories.num_items)
    assert not np.isnan(found).any()
    assert found.std() > 0


def test_a_recipe_of_ours_is_a_contestant():
    assert isinstance(contestant("recgrela:without-gate"), Ours)
    assert not contestant("recgrela:without-gate").config.model.gate
    with pytest.raises(ConfigError, match="no recipe 'cake'"):
        contestant("recgrela:cake")
    with pytest.raises(
        ConfigError, match=r"no model 'cake' to compare; expected some of recgrela, .*recgrela:RECIPE"
    ):
        contestant("cake")
