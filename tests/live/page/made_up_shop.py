"""A made-up catalogue of films with invented titles, and a log of people who like some kinds and follow series."""

from datetime import datetime, timedelta
from itertools import product

import numpy as np
import polars as pl

KINDS = {
    "sea": (
        ("Salt", "Tidal", "Drowned", "Harbour", "Lantern"),
        ("Road", "Letters", "Compass", "Choir", "Winter"),
    ),
    "night": (
        ("Velvet", "Midnight", "Hollow", "Paper", "Seventh"),
        ("Alibi", "Witness", "Inspector", "Stairs", "Verdict"),
    ),
    "space": (
        ("Silent", "Outer", "Copper", "Last", "Falling"),
        ("Orbit", "Colony", "Signal", "Pilot", "Horizon"),
    ),
    "heart": (
        ("Borrowed", "Sunday", "Crooked", "Second", "Lemon"),
        ("Kisses", "Wedding", "Garden", "Waltz", "Promise"),
    ),
    "west": (
        ("Dusty", "Crimson", "Two-Mile", "Widow's", "Broken"),
        ("Saddle", "Creek", "Marshal", "Bounty", "Sunset"),
    ),
    "laugh": (
        ("Grand", "Barely", "Uncle's", "Wrong", "Flying"),
        ("Butler", "Holiday", "Soup", "Parade", "Neighbours"),
    ),
    "ghost": (
        ("Weeping", "Ivory", "Attic", "Nameless", "Thirteen"),
        ("Doll", "Manor", "Bells", "Mirror", "Guests"),
    ),
    "child": (
        ("Clockwork", "Marble", "Tiny", "Wandering", "Snow"),
        ("Fox", "Balloon", "Whale", "Orchestra", "Dragon"),
    ),
}
"""Five series a kind, of five parts each: a series is an adjective, its parts follow the nouns."""

PARTS = 5
FIRST_ITEM = 1_001
TITLES = {
    FIRST_ITEM + number: f"The {adjective} {noun}"
    for number, (adjective, noun) in enumerate(
        pair for adjectives, nouns in KINDS.values() for pair in product(adjectives, nouns)
    )
}
OF_A_KIND = 25
HOSTILE = {
    FIRST_ITEM + 3: "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>",
    FIRST_ITEM + 4: "\u202eevil\u202c &amp; {{ 7 * 7 }}",
    FIRST_ITEM + 5: "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz" * 3,
    FIRST_ITEM + 6: "A title that goes on and on, " * 8,
}


def log(*, users: int, length: int, seed: int = 0) -> pl.DataFrame:
    """Each user likes two kinds, mostly follows a series to its end, and now and then sees something again.

    Dates in the year 2025: an evening's events are minutes apart, evenings days.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        kinds, seen, when = (
            rng.choice(len(KINDS), 2, replace=False),
            [],
            datetime(2025, 1, 1, 19) + timedelta(days=int(rng.integers(60))),
        )
        for _ in range(length):
            seen.append(_next(rng, kinds, seen))
            when += (
                timedelta(minutes=int(rng.integers(80, 130)))
                if rng.random() < 0.5
                else timedelta(days=int(rng.geometric(0.3)))
            )
            rows.append((f"user-{user:03}", FIRST_ITEM + seen[-1], when))
    return pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")


def _next(rng: np.random.Generator, kinds: np.ndarray, seen: list[int]) -> int:
    chance = rng.random()
    if seen and seen[-1] % PARTS < PARTS - 1 and chance < 0.7:
        return seen[-1] + 1
    if len(seen) > 5 and chance < 0.75:
        return int(rng.choice(seen))
    if chance < 0.95:
        return int(rng.choice(kinds)) * OF_A_KIND + PARTS * int(rng.integers(PARTS))
    return int(rng.integers(len(TITLES)))
