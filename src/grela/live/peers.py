"""Between the workers of one service: messages over Unix sockets in a folder that only their user may enter.

A frame is four bytes of length, big-endian, and a message in MessagePack. Many questions are under way on one
connection at a time; answers come as they are ready, by the number of the question.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import msgspec

from grela.errors import RefusedError
from grela.live.jobs import Answer, Follow, Forget, Suggest
from grela.live.measures import Measures

_STARTING = "the worker that follows this user is starting again; ask again in a moment"

logger = logging.getLogger(__name__)


class LoadAgain(msgspec.Struct, array_like=True, frozen=True, tag=4):
    """Serve the model that is in the run's folder now."""


class TellMeasures(msgspec.Struct, array_like=True, frozen=True, tag=5):
    """Say what has been counted."""


class Loaded(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """The fingerprint of the model that is served now."""

    fingerprint: str


class Measured(msgspec.Struct, array_like=True, frozen=True, tag=3):
    """What has been counted."""

    measures: Measures


class Answered(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """A job is done."""

    answer: Answer


class Refused(msgspec.Struct, array_like=True, frozen=True, tag=4):
    """A RefusedError."""

    message: str
    status: int


Question = Follow | Suggest | Forget | LoadAgain | TellMeasures
Told = Answer | Measures | Loaded
Reply = Answered | Loaded | Measured | Refused


class Asked(msgspec.Struct, array_like=True):
    """A question with its number."""

    number: int
    question: Question


class Replied(msgspec.Struct, array_like=True):
    """The answer to the question of that number."""

    number: int
    reply: Reply


class _Frames(asyncio.Protocol):
    """Cuts what arrives into messages, and sends what one turn of the loop has to say in one write."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._outgoing = bytearray()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is like one, but not of this class

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= 4:
            end = at + 4 + int.from_bytes(self._buffer[at : at + 4], "big")
            if len(self._buffer) < end:
                break
            self.message(bytes(self._buffer[at + 4 : end]))
            at = end
        del self._buffer[:at]

    def message(self, raw: bytes) -> None:
        """One message has arrived."""
        raise NotImplementedError

    def send(self, message: Asked | Replied) -> None:
        """Send a message, if there still is somebody to get it."""
        if self.transport is None or self.transport.is_closing():
            return
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._write)
        raw = msgspec.msgpack.encode(message)
        self._outgoing += len(raw).to_bytes(4, "big")
        self._outgoing += raw

    def _write(self) -> None:
        if self.transport is not None and self._outgoing:
            self.transport.write(bytes(self._outgoing))
        self._outgoing.clear()


class Link(_Frames):
    """This worker's connection to another one. It connects when it is first needed, and again after it has broken."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._decoder = msgspec.msgpack.Decoder(Replied)
        self._waiting: dict[int, asyncio.Future[Told]] = {}
        self._number = 0
        self._connecting = asyncio.Lock()

    async def ask(self, question: Question) -> Told:
        """The other worker's answer; RefusedError as it raised it, or with status 503 where it cannot be reached.

        When it breaks off in between, events may have been logged: repeat them with their ids.
        """
        if self.transport is None:
            await self._connect()
        if self.transport is None:  # it broke at once
            raise RefusedError(_STARTING, 503)
        self._number += 1
        future: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = future
        self.send(Asked(self._number, question))
        return await future

    async def _connect(self) -> None:
        async with self._connecting:
            if self.transport is not None:
                return
            try:
                await asyncio.get_running_loop().create_unix_connection(lambda: self, str(self._path))
            except OSError as error:
                raise RefusedError(_STARTING, 503) from error

    def message(self, raw: bytes) -> None:
        """As of `_Frames`."""
        replied = self._decoder.decode(raw)
        future = self._waiting.pop(replied.number, None)
        if future is None or future.done():
            return
        reply = replied.reply
        if isinstance(reply, Refused):
            future.set_exception(RefusedError(reply.message, reply.status))
        elif isinstance(reply, Answered):
            future.set_result(reply.answer)
        else:
            future.set_result(reply.measures if isinstance(reply, Measured) else reply)

    def connection_lost(self, error: Exception | None) -> None:
        """As of asyncio's protocols: the other worker has died or stopped."""
        self.transport = None
        self._buffer.clear()
        self._outgoing.clear()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(
                    RefusedError(
                        "the worker that follows this user broke off; it is not known whether events were logged: "
                        "repeat them with the same ids",
                        503,
                    )
                )

    def close(self) -> None:
        """End the connection, once what there is to say is said."""
        self._write()
        if self.transport is not None:
            self.transport.close()


class PeerSide(_Frames):
    """Another worker's connection to this one; `do` answers a question, or raises RefusedError."""

    def __init__(self, do: Callable[[Question], Awaitable[Told]]) -> None:
        super().__init__()
        self._do = do
        self._decoder = msgspec.msgpack.Decoder(Asked)
        self._tasks: set[asyncio.Task[None]] = set()

    def message(self, raw: bytes) -> None:
        """As of `_Frames`."""
        asked = self._decoder.decode(raw)
        task = asyncio.ensure_future(self._answer(asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, asked: Asked) -> None:
        reply: Reply
        try:
            told = await self._do(asked.question)
            if isinstance(told, Answer):
                reply = Answered(told)
            else:
                reply = Measured(told) if isinstance(told, Measures) else told
        except RefusedError as error:
            reply = Refused(str(error), error.status)
        except Exception:
            logger.exception("a question of another worker failed")
            reply = Refused("the worker that follows this user failed; see its log", 500)
        self.send(Replied(asked.number, reply))
