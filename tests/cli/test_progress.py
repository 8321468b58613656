"""How training shows itself on a terminal and to machines."""

import io
import json
import math
from contextlib import redirect_stderr

import pytest

from grela.cli.progress import Bar, duration, listening
from grela.training.listener import EpochReport, StepReport

METRICS = {"filtered/ndcg@10": 0.25, "unfiltered/ndcg@10": 0.125}


def step(loss: float = 2.5) -> StepReport:
    return StepReport(
        epoch=1, epochs=3, step=2, steps=5, loss=loss, events_per_second=1234.0, seconds_left=75.0
    )


def epoch(loss: float = 2.5) -> EpochReport:
    return EpochReport(
        epoch=1, loss=loss, metrics=METRICS, seconds=3.0, events_per_second=1234.0, best_epoch=1
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def test_a_terminal_gets_a_bar_and_a_line_an_epoch(terminal):
    with redirect_stderr(terminal), listening("auto") as listener:
        assert isinstance(listener, Bar)
        listener.step(step())
        listener.bar.refresh()
        listener.epoch(epoch())
        listener.notice("[not markup]")
    said = terminal.getvalue()
    for text in ("loss 2.500", "1,234 events/s", "1:15 left", "valid NDCG@10 0.2500 filtered, 0.1250 not"):
        assert text in said
    assert "[not markup]" in said


def test_the_cursor_comes_back_however_training_ends(terminal):
    def interrupted() -> None:
        with redirect_stderr(terminal), listening("auto") as listener:
            listener.step(step())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    said = terminal.getvalue()
    assert "\x1b[?25l" in said
    assert said.rfind("\x1b[?25h") > said.rfind("\x1b[?25l")


def test_a_diverged_loss_is_null_in_json(capsys):
    with listening("json") as listener:
        listener.step(step(math.nan))
        listener.epoch(epoch(math.inf))
        listener.notice('with "quotes" and\nlines')

    def no_such_number(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    lines = [json.loads(line, parse_constant=no_such_number) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["step", "epoch", "notice"]
    assert lines[0]["loss"] is lines[1]["loss"] is None
    assert lines[1]["metrics"] == METRICS
    assert lines[2]["message"] == 'with "quotes" and\nlines'


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.9, "0:59"), (245, "4:05"), (3600, "1:00:00"), (360_000, "100:00:00")],
)
def test_durations_read_as_clocks_do(seconds, text):
    assert duration(seconds) == text
