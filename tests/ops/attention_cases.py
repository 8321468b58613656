"""Random arguments for the forms of linear attention, and their values and gradients side by side."""

from dataclasses import dataclass

import torch
from torch import Tensor

from grela.ops.feature_map import positive_features
from grela.ops.linear_attention import AttentionState

# Pairwise distinct, so that a transpose cannot hide.
B, H, K, V = 2, 3, 4, 5
LENGTHS = (1, 2, 31, 32, 33, 100)


@dataclass(frozen=True, eq=False)
class Arguments:
    """q, k, q_rot, k_rot [B, T, H, K], v [B, T, H, V], segments [B, T], and the state S [B, H, K, V], z [B, H, K]."""

    q: Tensor
    k: Tensor
    q_rot: Tensor
    k_rot: Tensor
    v: Tensor
    segments: Tensor
    S: Tensor
    z: Tensor

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return self.q, self.k, self.q_rot, self.k_rot, self.v

    @property
    def state(self) -> AttentionState:
        return AttentionState(self.S, self.z)

    def over(self, part: slice) -> tuple[Tensor, ...]:
        """The inputs at some positions."""
        return tuple(x[:, part] for x in self.inputs)


def random_segments(rng: torch.Generator, length: int, *, batch: int = B, ends: float = 0.1) -> Tensor:
    """[B, T], from 0: after each position the history ends with probability `ends`."""
    ended = torch.rand(batch, length, generator=rng, device=rng.device) < ends
    ended[:, 0] = False
    return ended.cumsum(1)


def arguments(
    length: int,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    segments: Tensor | None = None,
    empty: bool = False,
) -> Arguments:
    """Float64 arguments; the rotated pair is drawn apart from q and k, as no law may rest on how it was made."""
    rng = torch.Generator(device).manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, device=device, dtype=torch.float64)

    if segments is None:
        segments = random_segments(rng, length)
    batch = len(segments)
    scale = 0.0 if empty else 1.0
    return Arguments(
        q=positive_features(draw(batch, length, H, K)),
        k=positive_features(draw(batch, length, H, K)),
        q_rot=draw(batch, length, H, K),
        k_rot=draw(batch, length, H, K),
        v=draw(batch, length, H, V),
        segments=segments,
        S=scale * draw(batch, H, K, V),
        z=scale * positive_features(draw(batch, H, K)),
    )


def values_and_gradients(form, given: Arguments, **options) -> dict[str, Tensor]:
    """Output, final state, and the gradients of a random sum of all three by every input and the initial state."""
    leaves = {
        name: getattr(given, name).clone().requires_grad_()
        for name in ("q", "k", "q_rot", "k_rot", "v", "S", "z")
    }
    q, k, q_rot, k_rot, v, S, z = leaves.values()
    out, final = form(q, k, q_rot, k_rot, v, given.segments, AttentionState(S, z), **options)
    results = {"out": out, "final S": final.S, "final z": final.z}
    rng = torch.Generator(out.device).manual_seed(99)
    total = sum(
        (x * torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)).sum()
        for x in results.values()
    )
    total.backward()
    return {name: x.detach() for name, x in results.items()} | {
        f"gradient by {name}": leaf.grad for name, leaf in leaves.items()
    }


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor], *, tolerance: float = 1e-11) -> None:
    """Every entry equal, to `tolerance` of the entry's largest value."""
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        assert found[name].shape == x.shape, name
        largest = max(1.0, x.abs().max().item())
        error = (found[name] - x).abs().max().item()
        assert error <= tolerance * largest, f"{name}: off by {error:.2e}, largest value {largest:.2e}"
