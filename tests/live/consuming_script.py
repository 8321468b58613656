"""Run by tests: follows a topic as `grela consume` does, and kills itself after an append, before the offsets are said.

consuming_script.py BROKERS STORE REJECTED APPENDS
"""

import os
import signal
import sys
from pathlib import Path

from consumer_cases import CATALOGUE, SETTINGS

from grela.live.kafka import RejectedFile, connect, follow
from grela.store.opening import open_store


def main(brokers: str, address: str, rejected: str, appends: int) -> None:
    store = open_store(address)
    append, left = store.append, appends

    def killing(batch):
        nonlocal left
        done = append(batch)
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    store.append = killing
    consumer = connect(brokers, "events", "g", SETTINGS)
    follow(consumer, store, CATALOGUE, reject=RejectedFile(Path(rejected)), done=lambda _: False)


if __name__ == "__main__":
    brokers, address, rejected, appends = sys.argv[1:]
    main(brokers, address, rejected, int(appends))
