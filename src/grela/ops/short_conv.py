"""Causal depthwise convolution along time: whole rows, or one step with the tail of the past.

Several histories may lie one after the other in a row, told apart by `segments`; taps never reach
from one history into the one before it.
"""

import torch
from torch import Tensor

# B batch, T time, D width, W taps (the kernel's length); tap W - 1 meets the present


def short_conv(
    x: Tensor, weight: Tensor, bias: Tensor, segments: Tensor, tail: Tensor
) -> tuple[Tensor, Tensor]:
    """y_t = bias + sum_j weight[:, W - 1 - j] * x_{t - j}, j < W, within t's segment; [B, T, D] and the new tail.

    x [B, T, D]; weight [D, W]; bias [D]; segments [B, T], equal within a history; tail [B, W - 1, D], the
    last inputs before x, which belong to the segment of the first position.
    """
    taps = weight.shape[1]
    past_BPD = torch.cat((tail, x), 1)
    past_segments_BP = torch.cat((segments[:, :1].expand(-1, taps - 1), segments), 1)
    length = x.shape[1]
    y_BTD = torch.addcmul(bias, x, weight[:, -1])
    for back in range(1, taps):
        start = taps - 1 - back
        same_BT1 = (past_segments_BP[:, start : start + length] == segments).unsqueeze(-1)
        y_BTD = torch.addcmul(
            y_BTD, past_BPD[:, start : start + length] * same_BT1, weight[:, taps - 1 - back]
        )
    last_BP1 = (past_segments_BP[:, length:] == segments[:, -1:]).unsqueeze(-1)
    return y_BTD, past_BPD[:, length:] * last_BP1


def short_conv_step(x: Tensor, weight: Tensor, bias: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
    """One step of `short_conv`: x [B, D] and tail [B, W - 1, D] give y [B, D] and the new tail."""
    window_BWD = torch.cat((tail, x.unsqueeze(1)), 1)
    return bias + (window_BWD * weight.T).sum(1), window_BWD[:, 1:]
