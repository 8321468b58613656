"""The command line: parse, call, print.

Exit codes: 0 done, 1 an error that says what to do, 2 usage, 130 interrupted.
"""

import os
import sys

import click

from grela import __version__
from grela.cli.ablate import ablate
from grela.cli.compare import compare
from grela.cli.consume import consume
from grela.cli.convert import convert
from grela.cli.data import data
from grela.cli.evaluate import evaluate
from grela.cli.export import export
from grela.cli.fit import fit
from grela.cli.inspect import inspect
from grela.cli.items import items
from grela.cli.recommend import recommend
from grela.cli.serve import serve
from grela.errors import GrelaError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="grela")
def cli() -> None:
    """Recommend the next item to users with long histories.

    \b
    grela fit ml-100k --out runs/ml-100k
    grela recommend runs/ml-100k --user 196
    """


for command in (
    fit,
    evaluate,
    recommend,
    serve,
    consume,
    compare,
    ablate,
    data,
    convert,
    inspect,
    items,
    export,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line of this process and exit."""
    sys.exit(run(sys.argv[1:]))


def _rank() -> str:
    """Which of the processes that torchrun has started says this; nothing for rank 0, and without torchrun."""
    rank = os.environ.get("RANK", "0") if "TORCHELASTIC_RUN_ID" in os.environ else "0"
    return "" if rank == "0" else f" (rank {rank})"


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    try:
        cli.main(arguments, prog_name="grela", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except GrelaError as error:
        click.echo(f"grela{_rank()}: {error}", err=True)
        return 1
    except (KeyboardInterrupt, click.Abort):
        click.echo("grela: interrupted", err=True)
        return 130
    except (BrokenPipeError, SystemExit):
        # The reader of our output has closed it, as `head` does, and nothing is left to say to it. In this mode
        # click exits by itself for no other reason.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0
