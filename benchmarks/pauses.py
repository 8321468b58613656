"""How well a run foresees the held-out event, by the pause before it.

    python benchmarks/pauses.py runs/ml-1m --bounds 0 60 1800

NDCG@10 and HR@10 of the validation events, not filtered, by the time since the event before, in the unit of the log.
The model does not know that pause; only this table does.
"""

import argparse
from pathlib import Path

import numpy as np

from grela import Recommender
from grela.evaluation.metrics import per_user


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--bounds", type=float, nargs="+", default=[0.0, 60.0, 1800.0])
    arguments = parser.parse_args()
    recommender = Recommender.load(arguments.run)
    cases, found = recommender.split.cases("valid"), recommender.evaluate("valid")
    # Leave-one-out gives each user one case and one target.
    times = cases.histories.times
    pause = (times[cases.history_end] - times[cases.history_end - 1])[np.argsort(cases.users, kind="stable")]
    values = per_user(found.ranks_unfiltered, (10,))
    part = np.searchsorted(np.array(sorted(arguments.bounds)), pause, side="left")
    lower = ["", *(f"> {bound:g}" for bound in sorted(arguments.bounds))]
    upper = [*(f"<= {bound:g}" for bound in sorted(arguments.bounds)), ""]
    for number, (low, high) in enumerate(zip(lower, upper, strict=True)):
        here = part == number
        if here.any():
            ndcg, hr = (float(values[name][here].mean()) for name in ("ndcg@10", "hr@10"))
            print(f"{low:>8} {high:>8}  {here.sum():6,} users  NDCG@10 {ndcg:.4f}  HR@10 {hr:.4f}")


if __name__ == "__main__":
    main()
