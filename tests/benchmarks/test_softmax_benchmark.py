"""The softmax benchmark measures each form at each size."""

import pytest
from softmax import main, milliseconds


@pytest.mark.usefixtures("kernels")
def test_every_form_is_timed_at_each_size(capsys):
    main(["--sizes", "7,30,16", "5,40,16", "--turns", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 7, 30, 16", "| 5, 40, 16"]
    assert all(line.count(" ms |") == 3 for line in lines[2:])


def test_the_first_turn_is_not_timed():
    calls = []
    [taken] = milliseconds([lambda: calls.append(1)], turns=4)
    assert len(calls) == 5
    assert taken >= 0
