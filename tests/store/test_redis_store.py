"""The store on a server: what it asks of the server, what it tells nobody, and that it survives the server's death."""

import itertools
import random
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from store_cases import event, items, log

from grela.errors import ConfigError, StoreError
from grela.store.protocol import Append, StoredState
from grela.store.redis import RedisStore
from redis_cases import DURABLE, running_server, server_process, server_program

pytestmark = [
    pytest.mark.skipif(server_program() is None, reason="no valkey-server or redis-server on this machine")
]
redis = pytest.importorskip("redis", reason="redis-py is not installed: pip install 'grela[redis]'")

WITHOUT_SYNC = ("--appendonly", "yes", "--appendfsync", "everysec")


@pytest.fixture
def folder(tmp_path):
    """A folder whose path is short enough for a socket."""
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("--appendonly", "no"), "its appendonly is 'no', expected 'yes'"),
        (WITHOUT_SYNC, "its appendfsync is 'everysec', expected 'always'"),
        ((*DURABLE, "--no-appendfsync-on-rewrite", "yes"), "its no-appendfsync-on-rewrite is 'yes'"),
        ((*DURABLE, "--maxmemory-policy", "allkeys-lru"), "its maxmemory-policy is 'allkeys-lru'"),
        ((*DURABLE, "--rename-command", "CONFIG", ""), "does not say its appendonly"),
    ],
)
def test_a_server_that_loses_what_it_acknowledged_is_refused_unless_that_is_asked_for(
    folder, settings, says, opened
):
    with running_server(folder, *settings) as url:
        with pytest.raises(StoreError, match=says):
            RedisStore(url)
        store = opened(RedisStore(url, durable=False))
        assert log(store, "u", event(1)).added == (True,)


def test_a_policy_that_evicts_only_what_expires_is_durable(folder, opened):
    with running_server(folder, *DURABLE, "--maxmemory-policy", "volatile-lru") as url:
        opened(RedisStore(url))


def append_until_refused(store, first: int) -> tuple[int, str]:
    """Log event first, first + 1, ... for three users at a time; the batch that was refused, and what was said."""
    for number in itertools.count(first):
        try:
            store.append([Append(f"u{m}", (event(number, number, str(number)),)) for m in range(3)])
        except StoreError as error:
            return number, str(error)
    raise AssertionError


def test_what_was_acknowledged_is_there_once_whenever_the_server_is_killed(folder):
    draw, begin = random.Random(0), 0
    for _ in range(5):
        with server_process(folder) as (url, process), closing(RedisStore(url)) as store:
            killer = threading.Timer(draw.uniform(0.02, 0.1), process.kill)
            killer.start()
            begin, said = append_until_refused(store, begin)
            killer.join()
        assert "cannot be reached" in said
        assert "send it again with the same ids" in said
    assert begin > 5
    with running_server(folder) as url, closing(RedisStore(url)) as store:
        found = [items(store.read(f"u{m}")) for m in range(3)]
    # The batch under way may be there or not, but for all users or for none.
    assert found in ([[str(n) for n in range(count)]] * 3 for count in (begin, begin + 1))


@pytest.mark.parametrize("snapshots", [(), ("--save", "3600 1")])
def test_nothing_of_a_deleted_user_is_in_the_servers_files_after_compacting(folder, snapshots):
    with running_server(folder, *DURABLE, *snapshots) as url:
        store = RedisStore(url)
        position = log(store, "wanda", event("item-of-wanda", 1, "id-of-wanda")).tail.position
        store.put_states("m", [("wanda", StoredState(position, b"state-of-wanda"))])
        log(store, "other", event("item-of-other", 1))
        if snapshots:
            with redis.Redis.from_url(url) as client:
                client.save()
        store.compact()
        assert b"wanda" in files(folder)
        store.delete("wanda")
        store.compact()
        found = files(folder)
        assert b"wanda" not in found
        assert b"other" in found
        store.close()


def files(folder) -> bytes:
    return b"".join(one.read_bytes() for one in folder.rglob("*") if one.is_file() and one.name != "said")


def test_a_password_is_in_no_message(folder, opened):
    with running_server(folder, *DURABLE, "--requirepass", "s3cret/word") as url:
        bad = url.replace("unix://", "unix://:wr0ng@")
        good = url.replace("unix://", "unix://:s3cret%2Fword@")
        store = opened(RedisStore(good))
        assert "s3cret" not in repr(store)
        with pytest.raises(StoreError, match=r"refuses this user or password") as refused:
            RedisStore(bad)
        with pytest.raises(StoreError) as none:
            RedisStore(url)
    with pytest.raises(StoreError, match=r"cannot be reached") as gone:
        store.read("u")
    with pytest.raises(StoreError, match=r"URL cannot be read") as unread:
        RedisStore("redis://:s3cret/word@localhost")
    assert unread.value.__cause__ is None
    assert unread.value.__suppress_context__
    for error in (refused, none, gone, unread):
        assert "wr0ng" not in str(error.value)
        assert "s3cret" not in str(error.value)


def test_a_server_that_is_not_there_is_said():
    with pytest.raises(StoreError, match=r"the store at 127.0.0.1:1/0 cannot be reached"):
        RedisStore("redis://127.0.0.1:1")


def test_an_append_whose_answer_was_lost_is_not_sent_again(folder):
    """By the client alone, which does not know whether events have ids; it would log them twice."""
    with running_server(folder) as url:
        store = RedisStore(url + "?retry_on_timeout=yes&socket_timeout=0.2")
        with redis.Redis.from_url(url) as other:
            log(store, "u", event(0))
            other.execute_command("CLIENT", "PAUSE", 1000, "ALL")
            with pytest.raises(StoreError, match=r"may have been logged or not"):
                log(store, "u", event(1))
            time.sleep(1.2)
            assert other.llen("grela:log:u") in (1, 2)
        store.close()


def test_keys_begin_with_the_prefix_and_two_prefixes_are_two_stores(folder, opened):
    with running_server(folder) as url:
        first, second = opened(RedisStore(url, prefix="a")), opened(RedisStore(url, prefix="b"))
        position = log(first, "u", event(1, 1, "x")).tail.position
        first.put_states("m", [("u", StoredState(position, b"s"))])
        first.seed("fp", [("v", [event(1)])])
        assert list(second.users()) == []
        assert second.seeded() is None
        with redis.Redis.from_url(url) as client:
            assert {key.split(b":")[0] for key in client.scan_iter()} == {b"a", b"b"}
            first.delete("u")
            assert sorted(key for key in client.keys("a:*") if b":u" in key and key != b"a:users") == []


def test_keys_of_another_program_or_version_are_refused(folder):
    with running_server(folder) as url:
        with redis.Redis.from_url(url) as client:
            client.set("grela:format", "2")
            client.lpush("list:format", "x")
        with pytest.raises(StoreError, match=r"grela:format at .* is b'2'.*give another prefix"):
            RedisStore(url)
        with pytest.raises(StoreError, match=r"WRONGTYPE"):
            RedisStore(url, prefix="list")


def test_a_server_without_memory_logs_nothing_of_a_batch(folder, opened):
    with running_server(folder, *DURABLE, "--maxmemory", "4mb") as url:
        store = opened(RedisStore(url))
        with redis.Redis.from_url(url) as other:
            # Nothing is sent but a place, so that no buffer takes memory meanwhile.
            free = (4 << 20) - other.info("memory")["used_memory"]
            other.setrange("room", free - (256 << 10), "x")
            refused, said = append_until_refused(store, 0)
        assert "no memory left; nothing of this call was logged" in said
        assert [store.read(f"u{m}").position.seq for m in range(3)] == [refused] * 3


def test_without_the_extra_it_says_what_to_install():
    script = (
        "import sys; sys.modules['redis'] = None\n"
        "from grela.store.opening import open_store\n"
        "open_store('redis://localhost')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ConfigError.__name__ in done.stderr
    assert "pip install 'grela[redis]'" in done.stderr
