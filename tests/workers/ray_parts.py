"""Parts that Ray's workers do in the tests: a module that they can import by itself."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grela.errors import EmptyDataError


def slowly(part: Callable[..., Any], node: str, folder: str, number: int, *arguments: Any) -> Any:
    """Do a part; on the node that is to die do it too, say so, and wait to be killed instead of answering.

    Elsewhere wait until that has a part: it may be slow to begin, and none would be left for it.
    """
    import ray

    result = part(*arguments)
    here = ray.get_runtime_context().get_node_id() == node
    Path(folder, f"{'lost' if here else 'done'}-{number}").touch()
    if here:
        time.sleep(300)
    until = time.monotonic() + 60
    while not list(Path(folder).glob("lost-*")) and time.monotonic() < until:
        time.sleep(0.02)
    return result


def dies() -> None:
    os._exit(1)


def fails() -> None:
    raise EmptyDataError("nothing there; give more")
