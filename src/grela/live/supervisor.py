"""Several workers as one service: each a process with users of its own; one that dies is started again."""

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from tempfile import TemporaryDirectory

from grela.errors import GrelaError, ServiceError
from grela.live.loading import load_served
from grela.live.settings import Settings
from grela.live.worker import GRACE, Place, listen, serve

STARTED, DRAINED, END = "started", "drained", "end"
# Seconds before a worker that has died is started again, doubled while it dies before it has served.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0

logger = logging.getLogger(__name__)


@dataclass
class _Worker:
    process: SpawnProcess
    ear: Connection
    served: bool = False
    drained: bool = False


class Supervisor:
    """Starts workers and keeps them. While it runs somebody keeps the address, by a socket that is not listened on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = TemporaryDirectory(prefix="grela-")
        self._workers: dict[int, _Worker] = {}
        self._pauses = dict.fromkeys(range(settings.workers), FIRST_PAUSE)
        self._due: dict[int, float] = {}
        self._stop_asked, self._stop_ask = socket.socketpair()

    def run(self, started: Callable[[], None]) -> None:
        """Until SIGTERM or SIGINT; started: called once all workers serve. ServiceError if one cannot begin at all."""
        before = {one: signal.signal(one, self._stop) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            for number in range(self._settings.workers):
                self._start(number)
            self._watch(started)
        finally:
            self._end()
            for one, handler in before.items():
                signal.signal(one, handler)

    def _stop(self, *_: object) -> None:
        self._stop_ask.send(b".")

    def _start(self, number: int) -> None:
        context = get_context("spawn")
        ear, mouth = context.Pipe()
        arguments = (self._settings, number, Path(self._folder.name), mouth)
        process = context.Process(target=_work, args=arguments, name=f"grela worker {number}")
        process.start()
        mouth.close()
        self._workers[number] = _Worker(process, ear)

    def _watch(self, started: Callable[[], None]) -> None:
        told = False
        while self._stop_asked not in (ready := self._wait()):
            for number, worker in list(self._workers.items()):
                if worker.ear in ready:
                    self._hear(number, worker)
            if not told and all(worker.served for worker in self._workers.values()):
                started()
                told = True
            now = time.monotonic()
            for number in [number for number, due in self._due.items() if due <= now]:
                del self._due[number]
                self._start(number)

    def _wait(self) -> list[object]:
        now = time.monotonic()
        patience = min((due - now for due in self._due.values()), default=None)
        ears = [worker.ear for worker in self._workers.values()]
        return list(wait([self._stop_asked, *ears], None if patience is None else max(0.0, patience)))

    def _hear(self, number: int, worker: _Worker) -> None:
        """What a worker says, or that it is gone."""
        try:
            said = worker.ear.recv()
        except EOFError:
            self._gone(number, worker)
            return
        if said == STARTED:
            worker.served, self._pauses[number] = True, FIRST_PAUSE
        elif said == DRAINED:
            worker.drained = True
        else:
            raise ServiceError(f"worker {number} cannot serve: {said}")

    def _gone(self, number: int, worker: _Worker) -> None:
        worker.process.join()
        del self._workers[number]
        pause = self._pauses[number]
        logger.error(
            "worker %d has died (exit code %s); it is started again in %.1f s",
            number,
            worker.process.exitcode,
            pause,
        )
        self._due[number] = time.monotonic() + pause
        self._pauses[number] = min(2 * pause, LONGEST_PAUSE)

    def _end(self) -> None:
        """All workers answer what they have; when the last has, all save and end."""
        for worker in self._workers.values():
            worker.process.terminate()
        deadline = time.monotonic() + GRACE + 1
        while (waiting := self._undrained()) and time.monotonic() < deadline:
            for number, worker in waiting.items():
                if worker.ear.poll(0.02):
                    self._hear_at_end(number, worker)
        for worker in self._workers.values():
            worker.ear.send(END)
        for worker in self._workers.values():
            worker.process.join()
        self._stop_asked.close()
        self._stop_ask.close()
        self._folder.cleanup()

    def _undrained(self) -> dict[int, _Worker]:
        return {number: worker for number, worker in self._workers.items() if not worker.drained}

    def _hear_at_end(self, number: int, worker: _Worker) -> None:
        try:
            worker.drained = worker.ear.recv() == DRAINED
        except EOFError:
            worker.process.join()
            del self._workers[number]


def _work(settings: Settings, number: int, sockets: Path, mouth: Connection) -> None:
    """A worker's process. It ends when the supervisor's does."""
    ended = threading.Event()

    async def drained() -> None:
        with suppress(BrokenPipeError):  # the supervisor has died: there is nobody to wait for
            mouth.send(DRAINED)
        await asyncio.get_running_loop().run_in_executor(None, ended.wait)

    place = Place(number, settings.workers, sockets, drained)
    try:
        served, listening = load_served(settings.run), listen(settings, alone=False)
        threading.Thread(target=_hear_end, args=(mouth, ended), daemon=True).start()
        serve(settings, listening, served, lambda: mouth.send(STARTED), place)
    except GrelaError as error:
        mouth.send(str(error))


def _hear_end(mouth: Connection, ended: threading.Event) -> None:
    try:
        mouth.recv()
    except EOFError:
        os.kill(os.getpid(), signal.SIGTERM)
    ended.set()
