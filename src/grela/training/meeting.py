"""How ranks find one another after a restart, when the launcher's store still holds what the ranks before have left.

torchrun keeps one key-value store over all restarts (torch 2.13, `DynamicRendezvousHandler`), and process groups find
their members' addresses in it under the same names: a rank may read where a dead one listened, and be refused there.
So rank 0 draws the name of a session, and the others learn it by an answer that only a living rank 0 can have given to
a question that is theirs alone. When a rank starts, torchrun has ended all ranks before.
"""

import secrets
import time
from datetime import timedelta

from torch.distributed.distributed_c10d import PrefixStore, Store

from grela.errors import RanksError

PAUSE = 0.01  # seconds


def meet(store: Store, rank: int, size: int, *, patience: timedelta) -> Store:
    """The part of `store` that nobody but these ranks has written to; RanksError if they do not come in time."""
    if rank == 0:
        session = _receive(store, size, patience)
    else:
        own = secrets.token_hex(16)
        store.set(f"grela/hello/{rank}", own)
        store.wait([f"grela/welcome/{own}"], patience)
        session = store.get(f"grela/welcome/{own}").decode()
        store.set(f"grela/ready/{session}/{rank}", "")
    return PrefixStore(f"grela/session/{session}", store)


def _receive(store: Store, size: int, patience: timedelta) -> str:
    """Answer whoever says hello until all are ready. A dead rank's hello is answered too, and nobody hears it."""
    session, missing = secrets.token_hex(16), list(range(1, size))
    until = time.monotonic() + patience.total_seconds()
    while missing:
        for rank in missing:
            if store.check([f"grela/hello/{rank}"]):
                store.set(f"grela/welcome/{store.get(f'grela/hello/{rank}').decode()}", session)
        missing = [rank for rank in missing if not store.check([f"grela/ready/{session}/{rank}"])]
        if missing and time.monotonic() > until:
            raise RanksError(
                f"of {size} ranks, {', '.join(map(str, missing))} have not come within {patience}: see what they say"
            )
        time.sleep(PAUSE)
    return session
