"""A run on the made-up shop, a service of it in a process of its own, and ways to ask it without a browser."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

Open = Callable[..., Any]  # opens the page, see conftest's `look`
SETTINGS = {
    "model": {"width": 16, "heads": 2, "layers": 3},
    "training": {"epochs": 2, "batch_positions": 512, "window": 32, "warmup_steps": 4, "precision": "fp32"},
}


@dataclass(frozen=True)
class Api:
    """The service at `url`, asked without a browser."""

    url: str

    def ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def refused(self, path: str) -> tuple[int, str]:
        """The status and the words of a GET that is refused."""
        try:
            self.ask("GET", path)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)["error"]
        raise AssertionError(f"{path} is answered")

    def add(self, user: str, *items: int, times: list[str] | None = None) -> None:
        given = times or [None] * len(items)
        events = [{"user": user, "item": item, "time": time} for item, time in zip(items, given, strict=True)]
        self.ask("POST", "events", {"events": events})

    def history(self, user: str) -> list[dict[str, Any]]:
        return self.ask("GET", f"users/{user}/history")["events"]


def serving(run: Path, folder: Path, **environment: str) -> Iterator[Api]:
    """`grela serve` on any free port, until the test is through; it must end well."""
    command = [
        sys.executable,
        "-m",
        "grela",
        "serve",
        run,
        "--port",
        "0",
        "--store",
        folder / "events.sqlite",
    ]
    environ = os.environ | {"PYTHONUNBUFFERED": "1"} | environment
    with (
        (folder / "stderr.txt").open("w") as said,
        subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=said, text=True, env=environ
        ) as process,
    ):
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("serving http://"), (folder / "stderr.txt").read_text()
        yield Api(first.split()[1] + "/")
        process.terminate()
        assert process.wait(30) == 0
