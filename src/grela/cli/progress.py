"""How training shows itself: a bar on a terminal, JSON lines for machines, or nothing."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from grela.training.json_lines import JsonLines
from grela.training.listener import EpochReport, Listener, StepReport


@contextmanager
def listening(log: str) -> Iterator[Listener]:
    """The listener of `--log`: "auto" is a bar on a terminal and notices alone elsewhere."""
    if log == "json":
        yield JsonLines(sys.stdout)
    elif log == "lines":
        yield Lines()
    elif sys.stderr.isatty():
        bar = Bar()
        try:
            yield bar
        finally:
            # However training ends: a bar that is left running hides the terminal's cursor.
            bar.bar.stop()
    else:
        yield Notices()


class Notices:
    """Only what a person should know, on the error stream."""

    def step(self, report: StepReport) -> None:
        """Nothing."""

    def epoch(self, report: EpochReport) -> None:
        """Nothing."""

    def notice(self, message: str) -> None:
        """The message as a line."""
        click.echo(message, err=True)


class Lines(Notices):
    """A line after each epoch."""

    def epoch(self, report: EpochReport) -> None:
        """The epoch in one line."""
        click.echo(epoch_line(report), err=True)


class Bar:
    """A bar that moves with each step, a line that stays after each epoch."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TextColumn("{task.fields[rate]:,.0f} events/s"),
            TextColumn("{task.fields[left]} left"),
            console=self.console,
            transient=True,
        )
        self.task = self.bar.add_task("", epoch="", loss=0.0, rate=0.0, left="")

    def step(self, report: StepReport) -> None:
        """Move the bar."""
        self.bar.start()
        self.bar.update(
            self.task,
            total=report.steps,
            completed=report.step,
            epoch=f"{report.epoch}/{report.epochs}",
            loss=report.loss,
            rate=report.events_per_second,
            left=duration(report.seconds_left),
        )

    def epoch(self, report: EpochReport) -> None:
        """Leave a line."""
        self.bar.stop()
        self.console.print(epoch_line(report), highlight=False)

    def notice(self, message: str) -> None:
        """Leave a line."""
        self.bar.stop()
        self.console.print(message, highlight=False, markup=False)


def epoch_line(report: EpochReport) -> str:
    """Loss, validation NDCG@10 and speed of one epoch."""
    parts = [f"epoch {report.epoch:>3}", f"loss {report.loss:.3f}"]
    if report.metrics:
        filtered, unfiltered = (report.metrics[f"{view}/ndcg@10"] for view in ("filtered", "unfiltered"))
        parts.append(f"valid NDCG@10 {filtered:.4f} filtered, {unfiltered:.4f} not")
    parts.append(f"{report.events_per_second:,.0f} events/s")
    return "  ".join(parts) + ("  best" if report.best_epoch == report.epoch else "")


def duration(seconds: float) -> str:
    """As "1:02:03" or "4:05"."""
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
