"""Made-up reports: a full one, an empty one, and one whose every string is hostile."""

import math
from dataclasses import replace

from grela.reporting.report import (
    Curve,
    ExampleUser,
    LayerRank,
    LayerShare,
    LengthBucket,
    MetricRow,
    Recommended,
    ReportData,
)

NAN = math.nan
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</title></style></svg><iframe src=//evil.example>",
    "&lt;already&amp;escaped",
    "שלום עולם \u202eevil\u202d mirrored",
    "emoji 👩‍👩‍👧‍👦🎬",
    "nul\x00 bell\x07 escape\x1b[31m delete\x7f c1\x9b lone\ud800 end",
    "unbreakable" * 60,
    "{{ 7 * 7 }}{% raw %}",
    "   ",
)


def full_report() -> ReportData:
    """A run such as `grela fit` makes: 50 epochs, 4 layers of 4 heads, 3 users."""
    epochs = list(range(1, 51))
    films = [f"Film number {j} ({1930 + j})" for j in range(60)]
    users = [
        ExampleUser(
            user=str(100 + u),
            history=films[u : u + 30],
            history_length=188 + u,
            truth=[films[40 + u]],
            recommendations=[Recommended(films[38 + j], 9.5 - 0.7 * j, j == 2 + u) for j in range(10)],
            rank=3 + u,
        )
        for u in range(2)
    ]
    users.append(
        ExampleUser("777", films[:4], 4, [films[50]], [Recommended(f, 3.1, False) for f in films[4:14]], 1234)
    )
    return ReportData(
        title="ml-1m, leave-one-out",
        command="grela fit ml-1m --out runs/ml-1m --seed 1 --epochs 50",
        duration="37 min 12 s",
        causal=True,
        interval="95 % bootstrap over users",
        data=[("events", 1000209), ("users", 6040), ("items", 3706), ("dropped by the 5-core filter", 374)],
        protocol=[
            ("split", "leave-one-out"),
            ("fingerprint", "9f86d081884c7d659a2feaa0c55ad015"),
            ("seed", "1"),
        ],
        metrics=[
            MetricRow("HR@10", (0.3517, 0.3398, 0.3639), (0.2869, 0.2752, 0.2985), 0.0492, 0.0211),
            MetricRow("NDCG@10", (0.2072, 0.1989, 0.2155), (0.1619, 0.1543, 0.1697), 0.0257, 0.0107),
            MetricRow("MRR@10", (0.1634, 0.1552, 0.1712), (0.1238, 0.1166, 0.1311), 0.0187, 0.0077),
            MetricRow("coverage@10", (0.7012, NAN, NAN), (0.6834, NAN, NAN)),
        ],
        loss=[Curve("training loss", epochs, [5.4 + 2.6 * math.exp(-e / 9) for e in epochs])],
        validation=[
            Curve("seen items filtered", epochs, [0.2133 * (1 - math.exp(-e / 6)) for e in epochs]),
            Curve("not filtered", epochs, [0.1689 * (1 - math.exp(-e / 7)) for e in epochs]),
        ],
        best_epoch=47,
        by_length=[
            LengthBucket(name, n, (f, f - w, f + w), (g, g - w, g + w))
            for name, n, f, g, w in (
                ("1–20", 812, 0.231, 0.214, 0.024),
                ("21–50", 1634, 0.222, 0.193, 0.016),
                ("51–100", 1341, 0.205, 0.162, 0.017),
                ("101–200", 1167, 0.197, 0.139, 0.018),
                ("201 and more", 1086, 0.181, 0.101, 0.018),
            )
        ],
        examples=users,
        shares=[
            LayerShare(layer, s, 1 - s, 0.2 + layer / 20)
            for layer, s in enumerate((0.71, 0.52, 0.38, 0.294), 1)
        ],
        ranks=[
            LayerRank(layer, head, 2.3 + 2.9 * head + layer, 38.0 + 21 * layer + 7 * head, 200, 16)
            for layer in (1, 2, 3, 4)
            for head in (1, 2, 3, 4)
        ],
        config={
            "model": {"form": "causal", "width": 64, "heads": 4, "layers": 4, "dropout": 0.1, "gate": True},
            "training": {"rate": 0.002, "epochs": 50, "betas": [0.9, 0.98], "clip": None},
        },
        environment={"python": "3.12.1", "torch": "2.13.0+cpu", "cores": 2, "device": "cpu"},
    )


def empty_report() -> ReportData:
    """A run of which nothing was recorded."""
    return ReportData(
        title="nothing", command="grela fit x.csv", duration="1 s", causal=False, interval="none"
    )


def hostile_report() -> ReportData:
    """The full report with hostile text in every place that holds text, and numbers that are not finite."""
    plain = full_report()
    every = " ".join(HOSTILE)
    user = ExampleUser(
        every,
        HOSTILE,
        len(HOSTILE),
        HOSTILE,
        [Recommended(h, NAN, j % 2 == 0) for j, h in enumerate(HOSTILE)],
        None,
    )
    return replace(
        plain,
        title=every,
        command=every,
        duration=every,
        interval=every,
        data=[(h, h) for h in HOSTILE],
        protocol=[(h, NAN) for h in HOSTILE],
        metrics=[MetricRow(h, (NAN, NAN, NAN), (math.inf, -math.inf, NAN), NAN) for h in HOSTILE],
        loss=[Curve(h, [1, 2, 3], [9.0, NAN, 1e30]) for h in HOSTILE],
        validation=[Curve(h, [1, 2, 3], [0.1, math.inf, 0.2]) for h in HOSTILE],
        by_length=[LengthBucket(h, 0, (NAN, NAN, NAN), (0.1, NAN, 0.2)) for h in HOSTILE],
        examples=[user],
        shares=[LayerShare(1, NAN, NAN, NAN), LayerShare(2, 0.0, 1.0, NAN)],
        ranks=[LayerRank(1, 1, NAN, 3.0, 5, 16), LayerRank(1, 2, 0.0, NAN, 7, 8)],
        config={h: {h: [h, NAN]} for h in HOSTILE},
        environment={h: h for h in HOSTILE},
    )


def smallest_report() -> ReportData:
    """One epoch, one layer, one head, one user, one bucket."""
    plain = full_report()
    return replace(
        plain,
        loss=[Curve("training loss", [1], [7.25])],
        validation=[Curve("seen items filtered", [1], [0.0])],
        best_epoch=1,
        metrics=plain.metrics[:1],
        by_length=plain.by_length[:1],
        examples=[ExampleUser("u", [], 0, [], [], None)],
        shares=plain.shares[:1],
        ranks=plain.ranks[:1],
    )


def long_report() -> ReportData:
    """Many epochs, layers and heads, and numbers that need room."""
    epochs = list(range(1, 5001))
    return replace(
        full_report(),
        loss=[Curve("training loss", epochs, [123_456.0 / e for e in epochs])],
        validation=[Curve("seen items filtered", epochs, [e / 1e6 for e in epochs])],
        best_epoch=2,
        by_length=[
            LengthBucket(f"{10**j:,}–{10 ** (j + 1):,}", 12_345_678, (1.0, 0.99, 1.0), (0.0, 0.0, 0.0))
            for j in range(6)
        ],
        shares=[LayerShare(layer, layer % 2, 1 - layer % 2, 0.5) for layer in range(1, 13)],
        ranks=[
            LayerRank(layer, head, 1.0, 1000.0, 1000, 8) for layer in range(1, 13) for head in range(1, 9)
        ],
    )


REPORTS = {
    "full": full_report,
    "empty": empty_report,
    "hostile": hostile_report,
    "smallest": smallest_report,
    "long": long_report,
}
