"""A user's state as bytes, which only the model that made it can read.

    0    4   b"GRST"
    4    2   format version, 1
    6    2   type of the last time: 0 none, 1 int64, 2 float64
    8   32   fingerprint of the model and its catalogue (`grela.models.fingerprint`)
    40   4   R, numbers of the recurrent part
    44   4   items met
    48   8   events
    56   8   last time
    64       recurrent part, float32 [R]; items met ascending, int32 [items, 3] as `MetItems.entries`
    last 4   CRC-32 of all that is before it

All little-endian. The checksum finds what a disk or a cut does to the bytes; it is no protection against somebody who
may write to the store, though what is decoded is always of this model's shape. Numbers stay float32: see docs/state.md
for what float16 would cost.
"""

import math
import struct
import zlib

import numpy as np

from grela.errors import StateError
from grela.models.fingerprint import state_fingerprints
from grela.models.recgrela import RecGRELA
from grela.serving.met import MetItems
from grela.serving.state import MOST_EVENTS, Layout, UserState

MAGIC, VERSION = b"GRST", 1
_HEADER = struct.Struct("<4sHH32sIIQ8s")
_CHECKSUM = struct.Struct("<I")
_NO_TIME, _WHOLE, _REAL = 0, 1, 2
_TIMES = {_WHOLE: struct.Struct("<q"), _REAL: struct.Struct("<d")}


def model_fingerprint(model: RecGRELA) -> str:
    """What a model's states are kept by: the same however many items were added to it after training."""
    return state_fingerprints(model)[0]


class StateCodec:
    """Encodes and decodes states of one model; ConfigError for a bidirectional one, which has none."""

    def __init__(self, model: RecGRELA) -> None:
        self.layout = Layout.of(model.config)
        self.num_items = model.config.num_items
        self.fingerprints = state_fingerprints(model)

    def encode(self, state: UserState) -> bytes:
        """The bytes of a state of this model: 68 + 4 R + 12 for each item met."""
        kind = _NO_TIME if state.last_time is None else _WHOLE if isinstance(state.last_time, int) else _REAL
        entries = state.met.entries()
        body = b"".join(
            (
                _HEADER.pack(
                    *(MAGIC, VERSION, kind, bytes.fromhex(self.fingerprints[-1])),
                    *(len(state.recurrent), len(entries), state.events),
                    _TIMES[kind].pack(state.last_time) if kind else bytes(8),
                ),
                state.recurrent.astype("<f4", copy=False).tobytes(),
                entries[np.argsort(entries[:, 0])].astype("<i4", copy=False).tobytes(),
            )
        )
        return body + _CHECKSUM.pack(zlib.crc32(body))

    @property
    def fingerprint(self) -> str:
        """What states are kept by: `model_fingerprint`."""
        return self.fingerprints[0]

    def decode(self, payload: bytes, *, logged: int | None = None) -> UserState:
        """The state in `payload`; StateError for anything but what `encode` of this model gives.

        A state from before items were added is as good as it was, unless it skipped events: if `logged`, how many
        events there were up to it, is more than it counts, they may be of items that are known now.
        """
        if len(payload) < _HEADER.size + _CHECKSUM.size:
            raise StateError(
                f"a stored state has {len(payload)} bytes, expected at least {_HEADER.size + _CHECKSUM.size}: it was "
                "cut off; rebuild it from the events"
            )
        magic, version, kind, fingerprint, size, met, events, time = _HEADER.unpack_from(payload)
        if magic != MAGIC or version != VERSION:
            raise StateError(
                f"a stored state begins with {magic!r}, version {version}, expected {MAGIC!r}, version {VERSION}: it "
                "is none, or of another version of this library; rebuild it from the events"
            )
        if fingerprint.hex() not in self.fingerprints:
            raise StateError(
                f"a stored state is of the model {fingerprint.hex()}, expected {self.fingerprints[-1]}: states are no "
                "use to other weights; rebuild it from the events"
            )
        if logged is not None and events < logged and fingerprint.hex() != self.fingerprints[-1]:
            raise StateError(
                f"a stored state skipped {logged - events} events, and items have been added since: they may be known "
                "now; rebuild it from the events"
            )
        self._check_size(len(payload), size, met)
        (checksum,) = _CHECKSUM.unpack_from(payload, len(payload) - _CHECKSUM.size)
        if zlib.crc32(memoryview(payload)[: -_CHECKSUM.size]) != checksum:
            raise StateError("a stored state's checksum is wrong: it was damaged; rebuild it from the events")
        recurrent = np.frombuffer(payload, "<f4", size, _HEADER.size).astype(np.float32)
        entries = (
            np.frombuffer(payload, "<i4", 3 * met, _HEADER.size + 4 * size).reshape(met, 3).astype(np.int32)
        )
        last_time = _TIMES[kind].unpack(time)[0] if kind in _TIMES else None
        if kind not in (_NO_TIME, *_TIMES) or not self._possible(recurrent, entries, events, last_time):
            raise StateError(
                "a stored state holds impossible numbers: it was changed; rebuild it from the events"
            )
        return UserState(recurrent, MetItems.from_entries(entries), events, last_time)

    def _check_size(self, length: int, size: int, met: int) -> None:
        expected = _HEADER.size + 4 * size + 12 * met + _CHECKSUM.size
        if size != self.layout.size or length != expected:
            raise StateError(
                f"a stored state has {length} bytes with {size} numbers and {met} items, expected {expected} bytes "
                f"with {self.layout.size} numbers: it was cut off or damaged; rebuild it from the events"
            )

    def _possible(
        self, recurrent: np.ndarray, entries: np.ndarray, events: int, last_time: int | float | None
    ) -> bool:
        """A right checksum is no proof: what indexes memory afterwards must be in range."""
        items, counts, last = entries.T
        return (
            (last_time is None or math.isfinite(last_time))
            and bool(np.isfinite(recurrent).all())
            and bool((np.diff(items) > 0).all())
            and (not len(items) or bool(items[0] >= 1 and items[-1] <= self.num_items))
            and bool((counts > 0).all())
            and int(counts.sum(dtype=np.int64)) == events <= MOST_EVENTS
            and bool(((last >= 0) & (last < events)).all())
        )
