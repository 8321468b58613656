"""The picture in docs/images: `PYTHONPATH=src python tests/live/page/picture.py docs/images/live.png`.

Trains on the made-up shop for half a minute, serves it, and lets someone of that shop go on with some films.
"""

import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from made_up_shop import TITLES, log
from page_actions import pick
from page_service import Api, serving
from playwright.sync_api import sync_playwright

from grela import Recommender
from grela.configuration import config_from

USER = "mira"
SETTINGS = {
    "model": {"width": 32, "heads": 2, "layers": 4},
    "training": {"epochs": 12, "batch_positions": 2048, "window": 100, "warmup_steps": 20},
}
# Title, days ago, hours later.
PAST = [
    ("The Silent Orbit", 30, 0),
    ("The Silent Colony", 30, 2),
    ("The Ivory Doll", 27, 0),
    ("The Ivory Manor", 27, 2),
    ("The Silent Signal", 16, 0),
    ("The Silent Pilot", 16, 2),
    ("The Weeping Doll", 9, 0),
    ("The Silent Horizon", 9, 2),
    ("The Silent Orbit", 3, 0),
    ("The Copper Orbit", 3, 2),
    ("The Copper Colony", 1, 0),
]
NOW = ["Copper Signal", "Copper Pilot", "Copper Horizon", "Attic Doll", "Attic Manor", "Ivory Doll"]
ITEMS = {title: item for item, title in TITLES.items()}


def main(out: Path) -> None:
    """Write the picture."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        run = folder / "run"
        Recommender.fit(log(users=600, length=60), config=config_from(SETTINGS), titles=TITLES, out=run)
        for api in serving(run, folder):
            now = datetime.now(UTC)
            times = [
                (now - timedelta(days=days) + timedelta(hours=hours)).isoformat() for _, days, hours in PAST
            ]
            api.add(USER, *(ITEMS[title] for title, _, _ in PAST), times=times)
            shoot(api, out)


def shoot(api: Api, out: Path) -> None:
    """Pick what is picked now, and take the picture."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome")
        )
        page = browser.new_page(
            viewport={"width": 1440, "height": 1170}, color_scheme="light", reduced_motion="reduce"
        )
        page.goto(f"{api.url}#user={USER}")
        page.wait_for_selector("#why .layers")
        for title in NOW:
            pick(page, ITEMS[f"The {title}"])
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
