"""Yambda of Yandex Music: listens in Parquet, in three sizes."""

from collections.abc import Sequence
from pathlib import Path

from grela.data.events import Events, read_events
from grela.data.sources.source import Counts, Layout, RemoteFile, Source

PAGE = "https://huggingface.co/datasets/yandex/yambda"
COUNTS = {
    "50m": Counts(10_000, 934_057, 46_467_212),
    "500m": Counts(100_000, 3_004_578, 466_512_103),
    "5b": Counts(1_000_000, 9_390_623, 4_649_567_411),
}
# as stated by independent users of the file in 2026; those of the larger sizes are not known
CHECKSUMS = {"50m": ("eed9cbd094af1e189507d2f8132a0dc9653b90e65480125c7cdccd601e0592d1", 369_110_332)}


def read_yambda(paths: Sequence[Path]) -> Events:
    """Listens as (uid, item_id, timestamp); times are steps of 5 seconds, as given."""
    return read_events(paths[0], user="uid", item="item_id", time="timestamp")


def size(name: str) -> Source:
    """The source of one size."""
    sha256, length = CHECKSUMS.get(name, (None, None))
    path = f"flat/{name}/listens.parquet"
    return Source(
        name=f"yambda/{name}",
        title=f"Yambda-{name.upper()}",
        publisher_url=PAGE,
        licence=YAMBDA.licence,
        citation=YAMBDA.citation,
        counts=COUNTS[name],
        files=(RemoteFile(path, f"{PAGE}/resolve/main/{path}", sha256=sha256, size=length),),
        layouts=(Layout(path, read_yambda), Layout(f"{name}/listens.parquet", read_yambda)),
        note=YAMBDA.note,
    )


YAMBDA = Source(
    name="yambda",
    title="Yambda",
    publisher_url=PAGE,
    licence="Apache 2.0",
    citation="A. Ploshkin et al., Yambda-5B, arXiv:2505.22238",
    counts=COUNTS["5b"],
    variants=tuple(COUNTS),
    variant=size,
    note="listens only; likes and dislikes are other files of the publisher; there are no titles",
)
