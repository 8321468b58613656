"""Pieces of work on threads: in their order, each on one core, the same bits on any number of threads."""

import threading

import pytest
import torch

from grela.ops.parallel import map_on_cores


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_come_in_the_order_of_the_pieces(threads):
    assert map_on_cores(lambda x: x * x, range(7), threads=threads) == [0, 1, 4, 9, 16, 25, 36]


@pytest.mark.parametrize("threads", [1, 3])
def test_each_piece_computes_on_one_core_and_the_caller_keeps_its_setting(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = map_on_cores(lambda _: torch.get_num_threads(), range(5), threads=threads)
        assert found == [1] * 5
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_threads_that_were_idle_while_the_setting_changed_still_compute_on_one_core():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        map_on_cores(lambda piece: piece, range(5), threads=5)
        torch.set_num_threads(2)
        together = threading.Barrier(5, timeout=30)
        assert (
            map_on_cores(lambda _: (together.wait(), torch.get_num_threads())[1], range(5), threads=5)
            == [1] * 5
        )
    finally:
        torch.set_num_threads(before)


def test_pieces_run_side_by_side():
    meeting = threading.Barrier(2, timeout=30)
    assert sorted(map_on_cores(lambda _: meeting.wait(), range(2), threads=2)) == [0, 1]


def test_an_exception_reaches_the_caller():
    def refuse(piece: int) -> int:
        raise ValueError(f"piece {piece}")

    with pytest.raises(ValueError, match="piece 0"):
        map_on_cores(refuse, range(3), threads=2)
