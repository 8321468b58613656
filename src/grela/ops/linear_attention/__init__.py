"""Linear attention whose numerator alone is rotated, and its causal sum in four forms.

    out_t = sum_{s <= t} (q~_t . k~_s) v_s / (q_t . sum_{s <= t} k_s + eps)          per head

`naive` is the definition and builds the T x T matrix. `chunked` (linear in T, for training), `recurrent`
(one position after the other) and `step` (one event) are equal to it in values, final state and gradients.
`bidirectional` lets s run over the whole history instead: the paper's form, which cannot stream;
`packed_bidirectional` is the same for histories one after the other without padding.

Source: Hu et al., arXiv 2506.13315, section 4.
"""

from grela.ops.linear_attention.bidirectional import bidirectional
from grela.ops.linear_attention.chunked import chunked
from grela.ops.linear_attention.naive import naive
from grela.ops.linear_attention.packed import packed_bidirectional, packed_bidirectional_last
from grela.ops.linear_attention.recurrent import recurrent, step
from grela.ops.linear_attention.state import EPS, AttentionState, empty_state

__all__ = [
    "EPS",
    "AttentionState",
    "bidirectional",
    "chunked",
    "empty_state",
    "naive",
    "packed_bidirectional",
    "packed_bidirectional_last",
    "recurrent",
    "step",
]
