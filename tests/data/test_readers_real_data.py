"""Published files read whole; they are looked for in the folder that GRELA_DATA names."""

import os
from pathlib import Path

import pytest

from grela.data.events import read_events
from grela.data.titles import read_titles

pytestmark = pytest.mark.real_data


def published(name: str) -> Path:
    folder = os.environ.get("GRELA_DATA")
    if not folder:
        pytest.skip("GRELA_DATA does not name a folder with the data sets")
    path = Path(folder) / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("ml-1m/ratings.tsv.gz", 999_611),
        ("ml-latest-small/ratings.csv", 100_004),
        ("foodcom/interactions.csv.gz", 349_362),
    ],
)
def test_every_published_event_is_read(name: str, rows: int) -> None:
    events = read_events(published(name))
    assert sum(len(batch) for batch in events.batches()) == rows
    assert {str(field.type) for field in events.schema} == {"int64"}


@pytest.mark.parametrize(
    ("titles", "events"),
    [
        ("ml-1m/movies.dat", "ml-1m/ratings.tsv.gz"),
        ("ml-latest-small/movies.csv", "ml-latest-small/ratings.csv"),
        ("foodcom/items.csv.gz", "foodcom/interactions.csv.gz"),
    ],
)
def test_every_item_of_the_events_has_a_title(titles: str, events: str) -> None:
    known = read_titles(published(titles))
    items = set(read_events(published(events)).table().column("item").unique().to_pylist())
    assert items <= set(known)
