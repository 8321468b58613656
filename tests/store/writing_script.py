"""Run by tests: appends to a store, saying what was acknowledged, until done or killed.

    writing_script.py STORE WRITER FIRST LAST USERS

Event n, for FIRST <= n < LAST, has the id "WRITER/n" and goes to user n % USERS; n and whether it was new are said
once the append has returned.
"""

import sys

from grela.store.opening import open_store
from grela.store.protocol import START, Append, NewEvent


def main(address: str, writer: str, first: int, last: int, users: int) -> None:
    store = open_store(address)
    known = {}
    print("ready", flush=True)
    for n in range(first, last):
        user = f"user {n % users}"
        event = NewEvent(str(n), n, f"{writer}/{n}")
        found = store.append([Append(user, (event,), known.get(user, START))])[0]
        known[user] = found.tail.position
        print(n, int(found.added[0]), flush=True)
    store.close()


if __name__ == "__main__":
    address, writer, first, last, users = sys.argv[1:]
    main(address, writer, int(first), int(last), int(users))
