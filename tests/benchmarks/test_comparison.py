from dataclasses import replace

import pytest
from benchmark_cases import BASE, run_of, saved_run
from comparison import (
    THAT,
    THIS,
    Spread,
    case_record,
    paired_ratio,
    side_by_side,
    spread,
    table,
    unpaired_ratio,
)


def test_a_spread_is_the_middle_and_the_ends():
    assert spread([5.0, 1.0, 2.0]) == Spread(2.0, 1.0, 5.0)


def test_noise_that_both_of_a_repeat_share_leaves_a_paired_ratio_alone():
    assert paired_ratio([20.0, 2.0, 200.0], [10.0, 1.0, 100.0]) == Spread(2.0, 2.0, 2.0)


def test_a_paired_ratio_needs_a_partner_for_every_repeat():
    with pytest.raises(ValueError, match="shorter"):
        paired_ratio([1.0, 2.0], [1.0])


def test_an_unpaired_ratio_reaches_from_the_worst_pair_to_the_best():
    assert unpaired_ratio([20.0, 30.0, 40.0], [10.0, 20.0]) == Spread(2.0, 1.0, 4.0)


def test_a_record_holds_both_sides_and_how_many_times_faster_this_one_is():
    runs = {THIS: [run_of(300.0, 60), run_of(200.0, 60)], THAT: [run_of(100.0, 30), run_of(100.0, 30)]}
    record = case_record(BASE, runs, {})
    assert record["ratio"] == {"median": 2.5, "low": 2.0, "high": 3.0}
    assert record["memory_ratio"]["median"] == 2.0
    assert record[THIS]["events_per_second"] == {"median": 250.0, "low": 200.0, "high": 300.0}


def test_a_side_that_failed_has_no_figures_and_no_ratio():
    record = case_record(BASE, {THIS: [run_of(300.0)], THAT: []}, {THAT: "killed by signal 9"})
    assert THIS in record
    assert THAT not in record
    assert "ratio" not in record
    assert record["errors"] == {THAT: "killed by signal 9"}
    saved = saved_run({}) | {"cases": [record]}
    saved["commits"][THAT] = {"hash": "def", "changed": False, "torch": "2.0"}
    assert "| failed | – | – |" in table(saved)


def test_two_saved_runs_are_compared_case_by_case_and_the_second_is_so_many_times_faster():
    wide, long = replace(BASE, items=100_000), replace(BASE, window=1_000)
    first = saved_run({BASE: [1_000.0, 1_100.0, 1_200.0], wide: [50.0]}, commit="aaa")
    second = saved_run({BASE: [2_200.0, 2_300.0, 2_100.0], long: [70.0]}, commit="bbb")
    lines = side_by_side(first, second).splitlines()
    assert lines[0].startswith("first: aaa, Abacus")
    assert lines[1].startswith("second: bbb")
    rows = [line for line in lines if line.startswith(f"| {BASE}")]
    assert rows == [f"| {BASE} | 1,100 | 2,200 | 2.00 | 1.75 to 2.30 | 500 | 500 | 1.00 |"]
    assert lines[-2:] == [f"only in the first: {wide}", f"only in the second: {long}"]


def test_a_table_says_in_how_many_runs_the_machine_was_busy_with_others():
    runs = [run_of(100.0, others=0.01), run_of(50.0, others=0.4), run_of(100.0, others=None)]
    saved = saved_run({}) | {"cases": [case_record(BASE, {THIS: runs}, {})]}
    assert "in 1 of 3 runs other processes took more than 5% of its cores, 40% at most" in table(saved)
    saved = saved_run({BASE: [100.0]})
    assert "quiet" not in table(saved)


def test_a_table_says_which_rates_are_of_a_part_of_an_epoch():
    saved = saved_run({}) | {"cases": [case_record(BASE, {THIS: [run_of(9.0), run_of(9.0, epochs=0)]}, {})]}
    assert "In 1 of 2 runs the epoch was cut short, after 7 steps at the least" in table(saved)
    assert "cut short" not in table(saved_run({BASE: [100.0]}))
