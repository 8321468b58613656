"""The costly operations as Triton kernels, for CUDA devices; each is equal to a definition elsewhere in `ops`.

    attention.py     causal linear attention                 = linear_attention.naive
    features.py      elu(x) + 1 and rotation of q and k      = feature_map.positive_features, rotary.rotate
    gated_conv.py    (attended + silu(conv(v))) * silu(g)    = short_conv.short_conv and the products around it
    softmax.py       softmax loss and gradient of logits     = losses.softmax.softmax_loss_and_gradient

Each has its kernels in `*_kernels.py`. Triton is optional: only these modules import it, and nothing imports
them unless asked. With TRITON_INTERPRET=1 set before the first import the kernels run on a CPU, slowly, to be
proven there. Sums are formed in float32, in an order that does not change from run to run: no atomics.
"""
