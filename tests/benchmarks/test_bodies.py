"""The bodies whose costs are compared: a step is what a whole history does, and only attention's state grows."""

import pytest
import torch
from bodies import BODIES, ON, Cache, FusedSoftmax, Size
from length_case import tensors

SIZE = Size(64, 4, 2)
LENGTH = 37


def made(name: str):
    """A body whose mixers have more to say than fresh ones."""
    body, rng = BODIES[name](SIZE, torch.Generator().manual_seed(0)), torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weight in body.weights():
            weight.add_(torch.randn(weight.shape, generator=rng), alpha=0.15)
    return body


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def empty(name: str, body):
    """The state before the first event, with room for `LENGTH`."""
    if name.startswith("RecGRELA"):
        before = body.model.empty_state(1)
        return before.layers, before.events
    if name == "softmax attention":
        return tuple(Cache(*(torch.zeros(1, 4, LENGTH, 16) for _ in range(2)), 0) for _ in range(2))
    if name == "Mamba":
        return tuple(mixer.mamba.empty_state(1) for mixer in body.mixers)
    return (torch.zeros(1, 1, 64),) * 2


@pytest.mark.parametrize("name", ON["cpu"])
@torch.no_grad()
def test_steps_from_the_empty_state_give_what_the_whole_history_does(name):
    body, x = made(name), random(1, LENGTH, 64)
    state, found = empty(name, body), []
    for t in range(LENGTH):
        y, state = body.step(x[:, t], state)
        found.append(y)
    whole = body(x)
    torch.testing.assert_close(torch.stack(found, 1), whole, rtol=1e-4, atol=1e-5)
    # Were positions hardly mixed, the law would hold by what each does alone.
    changed = x.clone()
    changed[:, 0] = random(64, 2)[:, 1]
    assert (body(changed)[:, 1:] - whole[:, 1:]).abs().max() > 0.01


@pytest.mark.parametrize("name", ON["cpu"])
def test_gradients_reach_every_weight(name):
    body, x = made(name), random(1, LENGTH, 64).requires_grad_()
    y = body(x)
    grads = torch.autograd.grad(y, [x, *body.weights()], random(*y.shape))
    assert sum(bool(grad.any()) for grad in grads) >= len(grads) - 2


@pytest.mark.parametrize("name", ON["cpu"])
def test_only_the_state_of_attention_grows_with_the_past(name):
    rng = torch.Generator().manual_seed(2)
    short, long = (sum(x.nbytes for x in tensors(made(name).state(n, rng))) for n in (99, 999))
    if name == "softmax attention":
        assert (short, long) == (2 * 2 * 100 * 64 * 4, 2 * 2 * 1000 * 64 * 4)
    else:
        assert 0 < short == long < 100_000


@torch.no_grad()
def test_fused_attention_is_causal_softmax_attention():
    mixer = FusedSoftmax(Size(6, 2, 1)).double()
    with torch.no_grad():
        for number, parameter in enumerate(mixer.parameters()):
            parameter.copy_(random(*parameter.shape, number + 1)[..., number].double())
    x = random(1, 5, 6).double()
    q, k, v = (of(x)[0].unflatten(-1, (2, 3)) for of in (mixer.query, mixer.key, mixer.value))
    mixed = torch.zeros(5, 2, 3, dtype=torch.float64)
    for t in range(5):
        for head in range(2):
            weights = torch.stack([(q[t, head] * k[s, head]).sum() / 3**0.5 for s in range(t + 1)]).softmax(0)
            mixed[t, head] = sum(w * v[s, head] for s, w in enumerate(weights))
    torch.testing.assert_close(mixer(x)[0], mixer.out(mixed.flatten(1)), rtol=1e-9, atol=1e-9)
