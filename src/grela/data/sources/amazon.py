"""Amazon Reviews 2023: one log per category, as ratings (CSV) or whole reviews (JSON lines)."""

from collections.abc import Sequence
from pathlib import Path

from grela.data.events import Events, read_events
from grela.data.sources.source import Counts, Layout, RemoteFile, Source
from grela.data.titles import read_titles
from grela.data.vocabulary import RawId

NAME = "amazon-reviews-2023"
HOST = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/"
CATEGORIES = (
    "All_Beauty",
    "Amazon_Fashion",
    "Appliances",
    "Arts_Crafts_and_Sewing",
    "Automotive",
    "Baby_Products",
    "Beauty_and_Personal_Care",
    "Books",
    "CDs_and_Vinyl",
    "Cell_Phones_and_Accessories",
    "Clothing_Shoes_and_Jewelry",
    "Digital_Music",
    "Electronics",
    "Gift_Cards",
    "Grocery_and_Gourmet_Food",
    "Handmade_Products",
    "Health_and_Household",
    "Health_and_Personal_Care",
    "Home_and_Kitchen",
    "Industrial_and_Scientific",
    "Kindle_Store",
    "Magazine_Subscriptions",
    "Movies_and_TV",
    "Musical_Instruments",
    "Office_Products",
    "Patio_Lawn_and_Garden",
    "Pet_Supplies",
    "Software",
    "Sports_and_Outdoors",
    "Subscription_Boxes",
    "Tools_and_Home_Improvement",
    "Toys_and_Games",
    "Unknown",
    "Video_Games",
)


def read_amazon(paths: Sequence[Path]) -> Events:
    """Events of (user_id, parent_asin, timestamp); times are Unix milliseconds, as given."""
    return read_events(paths[0], user="user_id", item="parent_asin", time="timestamp")


def read_amazon_titles(path: Path) -> dict[RawId, str]:
    """Titles of products by parent_asin."""
    return read_titles(path, item="parent_asin", title="title")


def _layout(events: str, category: str) -> Layout:
    return Layout(events, read_amazon, f"meta_{category}.jsonl.gz", read_amazon_titles)


def category(name: str) -> Source:
    """The source of one category."""
    logs = (f"{name}.csv.gz", f"{name}.csv", f"{name}.jsonl.gz", f"{name}.jsonl")
    return Source(
        name=f"{NAME}/{name}",
        title=f"Amazon Reviews 2023, {name}",
        publisher_url=AMAZON.publisher_url,
        licence=AMAZON.licence,
        citation=AMAZON.citation,
        counts=Counts(None, None, None),
        files=(
            RemoteFile(f"meta_{name}.jsonl.gz", f"{HOST}raw/meta_categories/meta_{name}.jsonl.gz"),
            RemoteFile(f"{name}.csv.gz", f"{HOST}benchmark/0core/rating_only/{name}.csv.gz"),
        ),
        layouts=tuple(_layout(log, name) for log in logs),
        note=AMAZON.note,
    )


AMAZON = Source(
    name=NAME,
    title="Amazon Reviews 2023",
    publisher_url="https://amazon-reviews-2023.github.io/",
    licence="research data; no licence is known; the publisher asks for citation",
    citation="Y. Hou et al., Bridging Language and Items for Retrieval and Recommendation, arXiv:2403.03952",
    counts=Counts(54_510_000, 48_190_000, 571_540_000),
    variants=CATEGORIES,
    variant=category,
    note="items are products (parent_asin), times milliseconds; the raw reviews <category>.jsonl.gz are read too",
)
