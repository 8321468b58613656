"""The file of the embedded store: what is in it, what is not, and what it says when it cannot be used."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time

import pytest
from store_cases import event, items, log

from grela.errors import StoreError
from grela.store import sqlite_file
from grela.store.protocol import Append, StoredState
from grela.store.sqlite import SqliteStore

SECRETS = [b"wanda.wanted", b"item-of-wanda", b"id-of-wanda", b"state-of-wanda"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.store"


@pytest.fixture
def store(path, opened):
    return opened(SqliteStore(path))


def bytes_of(folder) -> bytes:
    """All files, read by another process: closing a file here would drop this process's locks on it."""
    names = [str(one) for one in sorted(folder.iterdir())]
    return subprocess.run(["cat", *names], capture_output=True, check=True).stdout


def test_nothing_of_a_deleted_user_is_in_any_file_after_compacting(store, path):
    user = "wanda.wanted"
    # Enough of others before and after that pages split and cells move.
    for n in range(40):
        store.append([Append(f"other {m}", (event(m, n, f"{n}"),)) for m in range(60)])
        position = log(
            store, user, *(event(f"item-of-wanda-{n}", m, f"id-of-wanda-{n}.{m}") for m in range(9))
        )
    store.put_states("m", [(user, StoredState(position.tail.position, b"state-of-wanda" * 1000))])
    found = bytes_of(path.parent)
    assert all(secret in found for secret in SECRETS)
    assert store.delete(user) == 360
    store.compact()
    found = bytes_of(path.parent)
    assert [secret for secret in SECRETS if secret in found] == []
    # Others are there still, here and for a process that opens it next.
    assert len(items(store.read("other 7"))) == 40
    store.close()
    assert b"other 7" in bytes_of(path.parent)


def test_compacting_gives_room_back(store, path):
    store.append([Append(f"u{n}", tuple(event("x" * 100, m) for m in range(20))) for n in range(200)])
    for n in range(199):
        store.delete(f"u{n}")
    store.compact()
    sizes = {one.name: one.stat().st_size for one in path.parent.iterdir()}
    assert sizes["events.store"] < 50_000
    assert sizes["events.store-wal"] == 0


def test_only_the_owner_reads_the_files(store, path):
    log(store, "u", event(1))
    modes = {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    assert modes == {0o600}


def test_every_append_is_synced_before_it_returns(tmp_path):
    """Seen from outside, in the system calls; not where there is no strace."""
    script = (
        "import sys; from grela.store.sqlite import SqliteStore; from grela.store.protocol import *\n"
        "store = SqliteStore(sys.argv[1], durable=sys.argv[2] == 'durable')\n"
        "for n in range(20): store.append([Append('u', (NewEvent('1', n),))]); print('acknowledged', flush=True)\n"
    )

    def calls(durable: str) -> list[str]:
        command = ["strace", "-f", "-e", "trace=fsync,fdatasync,write", sys.executable, "-c", script]
        try:
            done = subprocess.run(
                [*command, str(tmp_path / durable), durable], capture_output=True, text=True, check=True
            )
        except FileNotFoundError:
            pytest.skip("there is no strace on this machine")
        marks = [line for line in done.stderr.splitlines() if "sync(" in line or "acknowledged" in line]
        return ["sync" if "sync(" in line else "said" for line in marks]

    between = "".join("s" if one == "sync" else "A" for one in calls("durable")).split("A")[:-1]
    assert len(between) == 20
    assert all("s" in synced for synced in between)
    between = "".join("s" if one == "sync" else "A" for one in calls("not")).split("A")[:-1]
    assert sum("s" in synced for synced in between) < 3


def test_durable_means_full_synchronisation_and_not_durable_survives_a_kill_only(path, opened):
    assert opened(SqliteStore(path))._writer.execute("PRAGMA synchronous").fetchone() == (2,)
    assert opened(SqliteStore(path, durable=False))._writer.execute("PRAGMA synchronous").fetchone() == (1,)


def test_a_full_disk_is_said_and_nothing_of_the_batch_is_logged(store):
    log(store, "u", event(1))
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages + 5}")
    many = tuple(event("x" * 500, n) for n in range(100))
    with pytest.raises(
        StoreError, match=r"events.store.*disk is full; nothing of this call was logged; make room"
    ):
        store.append([Append("v", (event(2),)), Append("u", many)])
    assert items(store.read("u")) == ["1"]
    assert list(store.users()) == ["u"]
    store._writer.execute("PRAGMA max_page_count = 100000")
    assert len(log(store, "u", *many).added) == 100


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"user,item,time\n" * 100, "this is no store, or its beginning is damaged"),
        (b"SQLite format 3\x00" + bytes(4080), "this is no store, or its beginning is damaged"),
    ],
)
def test_a_foreign_file_is_refused_and_left_alone(path, content, says):
    path.write_bytes(content)
    with pytest.raises(StoreError, match=f"events.store.*{says}"):
        SqliteStore(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(path):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE places(url TEXT)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"another program's SQLite file.*give another path"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_a_store_of_another_version_is_refused(store, path):
    store._writer.execute("PRAGMA user_version = 2")
    store.close()
    with pytest.raises(StoreError, match=r"has format 2, this version of grela reads 1"):
        SqliteStore(path)


def test_a_damaged_file_is_said(store, path):
    store.append([Append(f"u{n}", (event("x" * 300, 1),)) for n in range(500)])
    store.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xaa" * (len(content) - 4096)
    path.write_bytes(content)
    damaged = SqliteStore(path)
    with pytest.raises(StoreError, match=r"the file is damaged; restore it from a copy"):
        damaged.read("u7")
    with pytest.raises(StoreError, match=r"the file is damaged"):
        log(damaged, "u7", event(1))
    damaged.close()


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(StoreError, match=r"give a path in a folder that exists and may be written"):
        SqliteStore(tmp_path / "missing" / "events.store")
    with pytest.raises(StoreError, match=r"events.store"):
        SqliteStore("/proc/events.store")


def test_a_store_that_was_closed_says_so(store):
    store.close()
    store.close()
    for call in (lambda: store.read("u"), lambda: log(store, "u", event(1)), store.compact):
        with pytest.raises(StoreError, match=r"closed"):
            call()


def test_a_file_left_by_a_kill_before_it_was_laid_out_is_laid_out(path, opened):
    path.touch()
    assert log(opened(SqliteStore(path)), "u", event(1)).added == (True,)


def test_writers_wait_for_who_writes_without_taking_turns(store, path):
    """Another program with the file open, for less than the time that a store waits."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    def end() -> None:
        time.sleep(0.3)
        other.execute("COMMIT")

    thread = threading.Thread(target=end)
    thread.start()
    assert log(store, "u", event(1)).added == (True,)
    thread.join()
    other.close()


def test_a_store_that_stays_held_is_said(path, opened, monkeypatch):
    monkeypatch.setattr(sqlite_file, "WAIT_SECONDS", 0.1)
    store = opened(SqliteStore(path))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"something else has held it for .* find what has it open"):
        log(store, "u", event(1))
    other.close()
    assert log(store, "u", event(1)).added == (True,)


def test_compacting_waits_for_readers_and_says_when_one_stays(path, opened, monkeypatch):
    monkeypatch.setattr(sqlite_file, "WAIT_SECONDS", 0.1)
    store = opened(SqliteStore(path))
    log(store, "u", event(1))
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchone()
    with pytest.raises(StoreError, match=r"a reader has kept the log from being emptied"):
        store.compact()
    reader.close()
    store.compact()


def test_many_processes_may_open_a_new_store_at_once(path):
    script = (
        "import sys; from grela.store.sqlite import SqliteStore; from grela.store.protocol import *\n"
        "store = SqliteStore(sys.argv[1]); store.append([Append(sys.argv[2], (NewEvent('1', 1),))]); store.close()"
    )
    command = [sys.executable, "-c", script, str(path)]
    started = [subprocess.Popen([*command, f"u{n}"], stderr=subprocess.PIPE, text=True) for n in range(6)]
    assert [one.communicate()[1] for one in started] == [""] * 6
    store = SqliteStore(path)
    assert sorted(store.users()) == [f"u{n}" for n in range(6)]
    store.close()


def test_the_time_of_an_append_does_not_grow_with_the_history(store):
    """In steps of SQLite's machine, which grow where an index is missing: 20,000 events before, or one."""
    log(store, "long", *(event(n, n, f"{n}") for n in range(20_000)))
    log(store, "short", event(1))

    def steps(user: str) -> int:
        position = store.read(user).position
        count = 0

        def tick() -> int:
            nonlocal count
            count += 1
            return 0

        store._writer.set_progress_handler(tick, 1)
        log(store, user, event(1, 1, "new"), known=position)
        store._writer.set_progress_handler(None, 1)
        return count

    assert steps("long") <= 1.2 * steps("short")


def test_a_path_is_only_a_path(tmp_path, monkeypatch):
    """SQLite's own names for what is not a file are names of files here."""
    monkeypatch.chdir(tmp_path)
    store = SqliteStore(":memory:")
    log(store, "u", event(1))
    store.close()
    assert os.path.exists(tmp_path / ":memory:")
