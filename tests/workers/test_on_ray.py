"""A real Ray cluster of two nodes on this machine: the same files as one process, also when a node dies."""

import importlib.util
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ray_parts import dies, fails, slowly

import grela
from fit_cases import log, small_config
from grela import Recommender
from grela.data.parts.shard import EventFiles, shard
from grela.data.preparation import Preparation
from grela.errors import ConfigError, EmptyDataError, WorkersError
from grela.lists_in_parts import recommend_in_parts
from grela.workers.on_ray import RETRIES, RayWorkers

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (extra ray)"),
    # Of Ray's own: sockets and processes of killed nodes, and what it is told about its own settings.
    pytest.mark.filterwarnings("default"),
]
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 1024**2, "include_dashboard": False}
# A dead node is noticed after two seconds rather than fifteen.
NOTICE = {
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1_000,
    "health_check_failure_threshold": 3,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """One node with a core; tests add another, which they may kill."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # What a node starts finds this file's functions, and grela where it is not installed.
        places = [Path(__file__).parent, Path(grela.__file__).parents[1]]
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, places)))
        running = Cluster(initialize_head=True, head_node_args={**NODE, "_system_config": NOTICE})
        yield running
        running.shutdown()


@pytest.fixture
def second(cluster) -> Iterator[Any]:
    """The second node, taken away afterwards if it still lives."""
    node = cluster.add_node(**NODE)
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node, allow_graceful=False)


class Killing:
    """Workers of which the second node is killed while it does one of the chosen parts, known to have begun."""

    threads: int | None = 1

    def __init__(self, workers: RayWorkers, cluster: Any, node: Any, part: str, folder: Path) -> None:
        self.workers, self.cluster, self.node = workers, cluster, node
        self.part, self.folder = part, folder
        self.begun: list[str] = []

    def run(self, part: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        if part.__name__ != self.part or self.begun:
            return self.workers.run(part, arguments)
        killer = threading.Thread(target=self._kill)
        killer.start()
        try:
            told = [
                (part, self.node.node_id, str(self.folder), number, *one)
                for number, one in enumerate(arguments)
            ]
            return self.workers.run(slowly, told)
        finally:
            killer.join()
            self.begun = sorted(path.name for path in self.folder.iterdir())

    def _kill(self) -> None:
        """Once a part is done and another has begun on the node, so that some are done, some lost, some to come."""
        until = time.monotonic() + 60
        while not list(self.folder.glob("lost-*")) and time.monotonic() < until:
            time.sleep(0.02)
        self.cluster.remove_node(self.node, allow_graceful=False)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def many(users: int) -> pl.DataFrame:
    return log(users=users, length=5)


def test_a_log_is_sharded_as_by_one_process_though_a_node_dies(cluster, second, tmp_path) -> None:
    (tmp_path / "log").mkdir()
    events = many(600)
    for number, part in enumerate((events[:1_000], events[1_000:1_100], events[1_100:])):
        part.write_parquet(tmp_path / "log" / f"{number}.parquet")
    files, least = EventFiles.of(tmp_path / "log"), Preparation(min_user_events=2, min_item_events=2)
    expected = shard(files, tmp_path / "alone", parts=4, settings=least)
    (tmp_path / "seen").mkdir()
    with RayWorkers(cluster.address) as workers:
        killing = Killing(workers, cluster, second, "write_part", tmp_path / "seen")
        manifest = shard(files, tmp_path / "cluster", parts=4, settings=least, workers=killing)
    lost = [name for name in killing.begun if name.startswith("lost-")]
    assert lost
    assert sorted(name for name in killing.begun if name.startswith("done-")) == [
        f"done-{j}" for j in range(4)
    ]
    assert manifest == expected
    assert files_of(tmp_path / "cluster") == files_of(tmp_path / "alone")


def test_lists_are_those_of_one_process_though_a_node_dies(cluster, second, tmp_path) -> None:
    run = tmp_path / "run"
    fitted = Recommender.fit(many(5_000), config=small_config(), out=run)
    rows = fitted.recommend_to_parquet(tmp_path / "lists.parquet", k=3)
    (tmp_path / "seen").mkdir()
    with RayWorkers(cluster.address) as workers:
        killing = Killing(workers, cluster, second, "write_share", tmp_path / "seen")
        done = recommend_in_parts(run, tmp_path / "lists", parts=5, k=3, workers=killing)
    assert [name for name in killing.begun if name.startswith("lost-")]
    assert sum(one.rows for one in done) == rows
    found = pl.concat([pl.read_parquet(tmp_path / "lists" / one.file) for one in done])
    assert found.equals(pl.read_parquet(tmp_path / "lists.parquet"))
    assert len(list((tmp_path / "lists").iterdir())) == 5 + 1


def test_what_a_part_raises_is_raised_and_what_never_ends_well_is_told(cluster) -> None:
    with RayWorkers(cluster.address) as workers:
        with pytest.raises(EmptyDataError, match=r"^nothing there; give more$"):
            workers.run(fails, [()])
        with pytest.raises(WorkersError, match=f"lost {RETRIES + 1} times"):
            workers.run(dies, [()])


def test_where_no_cluster_answers_it_is_said() -> None:
    with pytest.raises(ConfigError, match=r"no Ray cluster at .127\.0\.0\.1:1."), RayWorkers("127.0.0.1:1"):
        pass
