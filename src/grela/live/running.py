"""A service from its settings to its end: checks, the import of the run's histories, workers."""

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from grela.live.loading import Progress, seed, served_of
from grela.live.served import Served
from grela.live.settings import Settings
from grela.live.supervisor import Supervisor
from grela.live.token import read_token
from grela.live.worker import listen, serve
from grela.recommender import Recommender
from grela.store.opening import open_store


def run_service(settings: Settings, *, say: Callable[[str], None], progress: Progress) -> None:
    """Serve until SIGTERM or SIGINT.

    say: told one line, once requests are answered: address, store, model. progress: of the import at the first start.
    Raises GrelaError, before anything is served, where the run, the store, the address or the token will not do.
    """
    read_token(settings, os.environ)
    alone = settings.workers == 1
    with closing(listen(settings, alone=alone)) as listening:
        recommender = Recommender.load(settings.run, device="cpu")
        served = served_of(recommender)
        with closing(open_store(settings.store, durable=settings.durable)) as store:
            if settings.compact:
                store.compact()
            seed(store, recommender, progress)
        address = listening.getsockname()[:2]
        line = introduction(settings, address, served)
        del recommender
        if alone:
            serve(settings, listening, served, lambda: say(line))
        else:
            del served  # each worker has its own
            Supervisor(replace(settings, port=address[1])).run(lambda: say(line))


def introduction(settings: Settings, address: tuple[str, int], served: Served) -> str:
    """The line that says what is served, and where."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return (
        f"serving http://{host}:{address[1]}  model {served.fingerprint[:12]} of {settings.run} "
        f"({len(served.items):,} items)  store {settings.store}{'' if settings.durable else ' (not durable)'}  "
        f"workers {settings.workers}"
    )
