"""Ranks meet on a store that other ranks have used before them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from torch.distributed import HashStore

from grela.errors import RanksError
from grela.training.meeting import meet

SOON = timedelta(seconds=20)


def met(store: HashStore, size: int) -> list:
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(lambda rank: meet(store, rank, size, patience=SOON), range(size)))


@pytest.mark.parametrize("size", [1, 2, 4])
def test_all_get_one_part_of_the_store_and_never_an_old_one(size):
    store = HashStore()
    for attempt in range(3):
        parts = met(store, size)
        assert not any(part.check(["address"]) for part in parts)
        parts[0].set("address", f"of attempt {attempt}")
        assert {part.get("address") for part in parts} == {f"of attempt {attempt}".encode()}


def test_ranks_that_died_before_they_were_ready_hinder_nobody():
    store = HashStore()
    for rank in (1, 2):
        store.set(f"grela/hello/{rank}", "of one who died")
    assert len(met(store, 3)) == 3


def test_rank_0_names_who_has_not_come():
    with pytest.raises(RanksError, match="of 3 ranks, 1, 2 have not come within"):
        meet(HashStore(), 0, 3, patience=timedelta(seconds=0.05))
