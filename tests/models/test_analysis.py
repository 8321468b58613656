"""Laws of the analysis: the measured matrices are those the layers apply, and the shares are their energies."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import silu

from grela.errors import RequestError
from grela.models.analysis import (
    POSITIONS,
    branch_shares,
    effective_rank,
    layer_views,
    local_matrices,
    mixing_matrices,
    mixing_ranks,
)
from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.ops.gaps import BUCKETS

# Layers 3, heads 2, width of a head 6: no two sizes alike.
FORMS = ("causal", "bidirectional")


def lively_model(form: str, **switches: bool) -> RecGRELA:
    """A model whose weights are far from zero, so that no branch is all but linear or shut."""
    config = RecGRELAConfig(num_items=30, form=form, width=12, heads=2, layers=3, taps=4, **switches)  # type: ignore[arg-type]
    rng = torch.Generator().manual_seed(5)
    model = RecGRELA(config, rng=rng)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng), alpha=0.4)
    return model


def histories(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.integers(1, 31, size=length).astype(np.int32) for length in lengths]


def entropy_rank(matrix: Tensor) -> float:
    """The definition, in numpy."""
    values = np.linalg.svd(matrix.numpy(), compute_uv=False)
    p = values / values.sum()
    p = p[p > 0]
    return float(np.exp(-(p * np.log(p)).sum()))


@pytest.mark.parametrize("form", FORMS)
def test_each_layer_sees_what_the_model_feeds_it(form: str) -> None:
    model, (items,) = lively_model(form), histories(17)
    fed: list[Tensor] = []
    hooks = [
        block.attention_norm.register_forward_hook(lambda _module, _inputs, out: fed.append(out))
        for block in model.each_block()
    ]
    row = torch.from_numpy(items.astype(np.int64)).unsqueeze(0)
    gaps = np.random.default_rng(8).integers(BUCKETS, size=17).astype(np.uint8)
    model.last_hidden(row, torch.tensor([17]), gaps=torch.from_numpy(gaps).unsqueeze(0))
    for hook in hooks:
        hook.remove()
    seen = [view.x for view in layer_views(model, items, gaps)]
    assert len(seen) == 3
    for ours, models in zip(seen, fed, strict=True):
        torch.testing.assert_close(ours.float(), models.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rotation", [True, False])
def test_mixing_matrix_times_values_is_the_attention(form: str, rotation: bool) -> None:
    model, (items,) = lively_model(form, rotation=rotation), histories(37)
    for view in layer_views(model, items):
        mixing_HTT = mixing_matrices(view, causal=form == "causal")
        assert mixing_HTT.shape == (2, 37, 37)
        values_HTK = view.attention.value(view.x)[0].unflatten(-1, (2, 6)).transpose(0, 1)
        mixed = (mixing_HTT @ values_HTK).transpose(0, 1).flatten(1)
        torch.testing.assert_close(mixed, view.branches.attention[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_mixing_and_local_matrix_times_a_channel_are_both_branches_before_silu_and_bias(form: str) -> None:
    model, (items,) = lively_model(form), histories(23)
    for view in layer_views(model, items):
        local_HCTT = local_matrices(view.attention, 23, channels=6)
        assert local_HCTT is not None
        both = mixing_matrices(view, causal=form == "causal").unsqueeze(1) + local_HCTT
        value_HCT = view.attention.value(view.x)[0].T.unflatten(0, (2, 6))
        mixed_TD = (both @ value_HCT.unsqueeze(-1)).squeeze(-1).flatten(0, 1).T
        convolved_TD = mixed_TD - view.branches.attention[0]
        assert view.attention.conv is not None
        assert view.attention.conv.bias is not None
        local = silu(convolved_TD + view.attention.conv.bias)
        torch.testing.assert_close(local, view.branches.local[0], rtol=1e-9, atol=1e-9)


def test_chosen_channels_are_spread_from_the_first_to_the_last() -> None:
    (view, *_) = layer_views(lively_model("causal"), histories(9)[0])
    every = local_matrices(view.attention, 9, channels=6)
    some = local_matrices(view.attention, 9, channels=3)
    assert every is not None
    assert some is not None
    assert torch.equal(some, every[:, [0, 2, 5]])


def test_effective_rank_counts_directions_of_equal_weight() -> None:
    vector = torch.arange(1.0, 8.0, dtype=torch.float64)
    matrices = torch.stack(
        (
            torch.eye(7, dtype=torch.float64),
            torch.outer(vector, vector.flip(0)),
            torch.diag(torch.tensor([3.0] * 4 + [0.0] * 3, dtype=torch.float64)),
        )
    )
    torch.testing.assert_close(effective_rank(matrices), torch.tensor([7.0, 1.0, 4.0], dtype=torch.float64))
    assert effective_rank(torch.zeros(3, 3)).isnan()


@pytest.mark.parametrize("form", FORMS)
def test_ranks_are_the_mean_over_histories_and_channels_of_the_definition(form: str) -> None:
    model, both = lively_model(form), histories(11, 19)
    without, added = np.zeros((2, 3, 2)), np.zeros((2, 3, 2))
    for h, items in enumerate(both):
        for layer, view in enumerate(layer_views(model, items)):
            local = local_matrices(view.attention, len(items), channels=6)
            assert local is not None
            for head, mixing in enumerate(mixing_matrices(view, causal=form == "causal")):
                without[h, layer, head] = entropy_rank(mixing)
                added[h, layer, head] = np.mean([entropy_rank(mixing + c) for c in local[head]])
    ranks = mixing_ranks(model, both, channels=6)
    assert [(r.layer, r.head) for r in ranks] == [(layer, head) for layer in (1, 2, 3) for head in (1, 2)]
    np.testing.assert_allclose([r.without_local for r in ranks], without.mean(0).ravel(), rtol=1e-6)
    np.testing.assert_allclose([r.with_local for r in ranks], added.mean(0).ravel(), rtol=1e-6)
    assert {(r.positions, r.head_width) for r in ranks} == {(19, 6)}


def test_head_width_bounds_the_rank_until_a_causal_mask_lifts_it() -> None:
    long = histories(80)
    bidirectional = mixing_ranks(lively_model("bidirectional"), long)
    causal = mixing_ranks(lively_model("causal"), long)
    assert all(1 <= r.without_local <= r.head_width for r in bidirectional)
    assert max(r.with_local for r in bidirectional) > 6
    assert max(r.without_local for r in causal) > 6
    assert all(r.without_local <= r.positions and r.with_local <= r.positions for r in causal)


@pytest.mark.parametrize("form", FORMS)
def test_shares_are_the_energies_of_the_gated_branches(form: str) -> None:
    model, both = lively_model(form), histories(13, 29)
    energy, opened = np.zeros((3, 2)), [[] for _ in range(3)]  # type: ignore[var-annotated]
    for items in both:
        for layer, view in enumerate(layer_views(model, items)):
            attention, local, gate = (part[0].numpy() for part in view.branches)
            for t in range(len(items)):
                for d in range(12):
                    energy[layer] += (local[t, d] * gate[t, d]) ** 2, (attention[t, d] * gate[t, d]) ** 2
                    opened[layer].append(abs(gate[t, d]))
    shares = branch_shares(model, both)
    assert [s.layer for s in shares] == [1, 2, 3]
    for share, (local, attention), gates in zip(shares, energy, opened, strict=True):
        assert share.local == pytest.approx(local / (local + attention), rel=1e-9)
        assert share.local + share.attention == pytest.approx(1.0, rel=1e-12)
        assert 0 < share.local < 1
        assert share.gate_open == pytest.approx(np.mean(gates), rel=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_without_local_branch_its_share_is_zero_and_both_ranks_agree(form: str) -> None:
    model = lively_model(form, local_branch=False)
    assert [(s.local, s.attention) for s in branch_shares(model, histories(20))] == [(0.0, 1.0)] * 3
    ranks = mixing_ranks(model, histories(20))
    assert len(ranks) == 6
    assert all(r.without_local == r.with_local > 1 for r in ranks)


def test_without_gate_all_of_it_is_open() -> None:
    assert [s.gate_open for s in branch_shares(lively_model("causal", gate=False), histories(8))] == [1.0] * 3


def test_only_the_last_positions_count() -> None:
    model, (items,) = lively_model("causal"), histories(POSITIONS + 50)
    assert branch_shares(model, [items]) == branch_shares(model, [items[50:]])
    assert branch_shares(model, [items]) != branch_shares(model, [items[:POSITIONS]])
    gaps = np.random.default_rng(8).integers(BUCKETS, size=len(items)).astype(np.uint8)
    assert branch_shares(model, [items], [gaps]) == branch_shares(model, [items[50:]], [gaps[50:]])
    assert branch_shares(model, [items], [gaps]) != branch_shares(model, [items])


def test_measuring_leaves_the_model_as_it_was() -> None:
    model = lively_model("causal")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    mixing_ranks(model, histories(10))
    branch_shares(model, histories(10))
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("measure", [branch_shares, mixing_ranks])
def test_nothing_to_measure_is_a_clear_error(measure: object) -> None:
    model = lively_model("causal")
    for nothing in ([], histories(5, 0)):
        with pytest.raises(RequestError, match="one or more histories of at least one event"):
            measure(model, nothing)  # type: ignore[operator]
