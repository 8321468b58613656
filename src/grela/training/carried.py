"""The states that unfinished histories have reached between two steps, one a stream."""

from collections.abc import Mapping

import torch
from torch import Tensor

from grela.errors import CheckpointError, TrainingError
from grela.models.recgrela import State
from grela.nn.attention import LayerState
from grela.ops.linear_attention import AttentionState
from grela.training.streams import StreamRow


def detached(state: State) -> State:
    """The same values without their past: no gradient flows through them, and no memory hangs on them."""
    layers = tuple(
        LayerState(
            AttentionState(layer.attention.S.detach(), layer.attention.z.detach()), layer.tail.detach()
        )
        for layer in state.layers
    )
    return State(layers, state.events.detach())


def entering(row: StreamRow, state: State | None) -> State | None:
    """The state in which `row` begins: `state`, what the row before left, if it goes on, else None.

    Raises TrainingError where it goes on from a row that was not trained on.
    """
    if not row.continues:
        return None
    if state is None:
        raise TrainingError(
            f"a row goes on at event {int(row.positions[0, 0])} of a history, but no step has left its state: "
            "train on the plan's steps in their order, and resume with the settings it was begun with"
        )
    return state


def carried_tensors(carried: Mapping[int, State]) -> dict[str, Tensor]:
    """The states by stream as named tensors: "<stream>/<layer>/S", "z" and "tail", and "<stream>/events"."""
    tensors = {}
    for stream, state in carried.items():
        tensors[f"{stream}/events"] = state.events
        for number, layer in enumerate(state.layers):
            tensors[f"{stream}/{number}/S"] = layer.attention.S
            tensors[f"{stream}/{number}/z"] = layer.attention.z
            tensors[f"{stream}/{number}/tail"] = layer.tail
    return tensors


def restored_states(tensors: Mapping[str, Tensor], *, like: State) -> dict[int, State]:
    """What `carried_tensors` named, on the device of `like`, a state of one history.

    Raises CheckpointError if they are not states of the same model.
    """
    streams = sorted({int(name.split("/")[0]) for name in tensors})
    expected = {name: x for stream in streams for name, x in carried_tensors({stream: like}).items()}
    there = {name: list(x.shape) for name, x in tensors.items()}
    here = {name: list(x.shape) for name, x in expected.items()}
    if there != here:
        differing = sorted(n for n in here.keys() | there.keys() if here.get(n) != there.get(n))
        name = differing[0]
        raise CheckpointError(
            f"the checkpoint holds another model's states: {name} is {there.get(name)} there and "
            f"{here.get(name)} here; resume with the settings it was begun with"
        )
    device = like.events.device
    return {stream: _state(tensors, stream, len(like.layers), device) for stream in streams}


def _state(tensors: Mapping[str, Tensor], stream: int, layers: int, device: torch.device) -> State:
    def layer(number: int) -> LayerState:
        S, z, tail = (tensors[f"{stream}/{number}/{part}"].to(device) for part in ("S", "z", "tail"))
        return LayerState(AttentionState(S, z), tail)

    return State(tuple(layer(n) for n in range(layers)), tensors[f"{stream}/events"].to(device))
