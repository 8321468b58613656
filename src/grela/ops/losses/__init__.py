"""The losses of next-item prediction, one a file, each with its definition beside its fast form.

| loss | candidates of a position | gradient by the item table |
|---|---|---|
| `softmax` | all items | dense |
| `softmax_without_seen` | all items but those its user has met | dense |
| `sampled_softmax`, `classic_sampled_softmax` | drawn items, shared by all positions | sparse rows |
| `gbce` | drawn items, shared by all positions | sparse rows |
| `binary_cross_entropy` | drawn items, each position's own, none that its user has met | sparse rows |
| `scalable_cross_entropy` | the items that a bucket of like positions scores highest | sparse rows |

All are a `Loss` once their own numbers are given; see `targets`.
"""
