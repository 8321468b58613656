"""What an event costs as histories grow: RecGRELA beside softmax attention, Mamba and GRU, 128 to 65,536 positions.

    python benchmarks/length.py --json length.json --picture docs/images/length.svg
    python benchmarks/length.py --lengths 1024 2048 --models "RecGRELA, compiled" GRU --repeats 1

Two things are measured, at each length: forward and backward over one history of so many positions, and one streaming
step after so many events. All models are stacks of equal blocks, width 64, that differ in what mixes positions
(`bodies.py`); numbers are random, nothing is dropped. On the CPU all is float32 on one thread; on CUDA products are in
bfloat16.

Every figure comes from a process of its own, so that its peak of memory is its own. Models take their turn at each
length, in turned order every other repeat. Whether a cost stays put is judged by times that each process takes by turns
with those at 1,024, and by bytes. Where a call takes longer than `--most-seconds` (of processor time on the
CPU), or fails, the model's longer lengths are left out, and the table says so. Exponents are least squares of log cost
by log length from 1,024 up, one fit a repeat. After each process what is known so far is written.
"""

import argparse
import json
import math
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from bodies import BODIES, ON
from commits import working_tree
from comparison import spread
from growth import FROM, WHATS, by_event, curve_of, disturbance, exponent, quantities, tables, verdicts
from processes import CaseError
from train import SavedRunError, must_be_writable, positive, processor, whole
from turns import PATIENCE, Measurements, Run, in_a_process, schedule

from grela.errors import RequestError
from grela.reporting.growth import Line, Panel, Point, drawing

FORMAT = 1
LENGTHS = tuple(2**n for n in range(7, 17))


def measured(
    asked: argparse.Namespace, models: Mapping[str, Sequence[str]], run: Run
) -> Iterator[dict[str, Any]]:
    """What is known after each process, as it is saved."""
    known, start = Measurements(asked.most_seconds, max(asked.lengths)), facts(asked, models)
    shape = {name: start["settings"][name] for name in ("width", "heads", "layers", "threads", "seconds")}
    shape["base"] = FROM
    shape["most_seconds"] = math.ceil(PATIENCE * asked.most_seconds) + 60
    for repeat in range(asked.repeats):
        for case in schedule(models, asked.lengths, shape, repeat):
            if known.wanted(case):
                print(f"repeat {repeat + 1}: {case} ...", end=" ", file=sys.stderr, flush=True)
                print(known.take(case, run), file=sys.stderr)
                saved = start | {"records": known.records(), "left_out": known.missing()}
                yield saved | {"exponents": exponents(saved), "verdicts": verdicts(saved)}


def facts(asked: argparse.Namespace, models: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What is measured, by which code, on what."""
    commit, changed = working_tree()
    cuda = torch.cuda.is_available()
    return {
        "benchmark": "length",
        "format": FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "gpu": torch.cuda.get_device_name() if cuda else None,
        },
        "commit": {"hash": commit, "changed": changed, "torch": torch.__version__},
        "devices": list(models),
        "models": {device: list(names) for device, names in models.items()},
        "lengths": list(asked.lengths),
        "settings": {
            "width": 64,
            "heads": 4,
            "layers": asked.layers,
            "threads": asked.threads,
            "seconds": asked.seconds,
            "repeats": asked.repeats,
            "most_seconds": asked.most_seconds,
        },
    }


def exponents(saved: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of every model and quantity; None where fewer than two lengths tell."""
    found = []
    for device in saved["devices"]:
        for quantity in quantities(device):
            for model in saved["models"][device]:
                fit = exponent(curve_of(saved["records"], model, device, quantity))
                of = {"device": device, "model": model, "quantity": str(quantity)}
                found.append(of | {"exponent": None if fit is None else asdict(fit)})
    return found


def summary(saved: Mapping[str, Any]) -> str:
    """All that was found, for a person."""
    machine, commit = saved["machine"], saved["commit"]
    lines = [
        f"{commit['hash'] or 'no commit'}{' with changes' if commit['changed'] else ''}, {machine['processor']}, "
        f"{machine['gpu'] or 'no GPU here: the CPU alone was measured'}, torch {commit['torch']}, {saved['date']}",
        "median (least–greatest) over repeats",
        "",
        tables(saved),
        "",
    ]
    for one in saved["left_out"]:
        lines.append(f"left out: {one['device']}, {one['model']}, {WHATS[one['what']]}, {one['why']}")
    lines += ["", "RecGRELA's cost per event, from 1,024 up within 10 % of that at 1,024?"]
    lines += [verdict["words"] for verdict in saved["verdicts"]]
    return "\n".join([*lines, disturbance(saved)]).rstrip()


def panels(saved: Mapping[str, Any]) -> list[Panel]:
    """What the picture shows: each quantity of each device by length."""
    found = []
    for device in saved["devices"]:
        for quantity in quantities(device):
            lines = []
            for model in saved["models"][device]:
                curve = by_event(curve_of(saved["records"], model, device, quantity), quantity)
                points = []
                for length, values in sorted(curve.items()):
                    if min(values) <= 0:  # too little for the system to have counted it
                        continue
                    middle = spread([quantity.scale * value for value in values])
                    points.append(Point(length, middle.median, middle.low, middle.high))
                lines.append(Line(model, points))
            x_label = "positions" if quantity.by_position else "events before the step"
            title = f"{'CPU' if device == 'cpu' else 'GPU'}, {WHATS[quantity.what]}"
            found.append(Panel(title, f"{quantity.name}, {quantity.unit}", x_label, lines))
    return found


def keep(saved: Mapping[str, Any], asked: argparse.Namespace) -> None:
    """Write the JSON that was asked for."""
    if asked.json:
        asked.json.write_text(json.dumps(saved, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def draw(saved: Mapping[str, Any], asked: argparse.Namespace) -> None:
    """Write the picture that was asked for."""
    if asked.picture and saved:
        notes = [f"left out: {one['model']}, {WHATS[one['what']]}, {one['why']}" for one in saved["left_out"]]
        try:
            text = drawing(panels(saved), title="What an event costs as histories grow", notes=notes)
        except RequestError as error:
            print(f"no picture: {error}", file=sys.stderr)
        else:
            asked.picture.write_text(text, encoding="utf-8")


def chosen(asked: argparse.Namespace) -> dict[str, Sequence[str]]:
    """The models of each device; raises CaseError where there is no such device, or nothing to measure on it."""
    cuda = torch.cuda.is_available()
    if "cuda" in (asked.device or ()) and not cuda:
        raise CaseError("--device cuda, but torch finds no CUDA device here; leave it out, or give cpu")
    devices = asked.device or (["cpu", "cuda"] if cuda else ["cpu"])
    models = {device: [name for name in ON[device] if name in asked.models] for device in devices}
    for device, names in models.items():
        if not names:
            raise CaseError(f"none of --models is for {device}; it has {', '.join(ON[device])}")
    return models


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", type=whole, nargs="+", default=LENGTHS)
    parser.add_argument("--models", nargs="+", choices=BODIES, default=list(BODIES))
    parser.add_argument("--device", nargs="+", choices=["cpu", "cuda"], help="default: all there are")
    parser.add_argument("--layers", type=whole, default=4, help="blocks of each model (default 4)")
    parser.add_argument("--threads", type=whole, default=1, help="of the CPU (default 1)")
    parser.add_argument("--repeats", type=whole, default=3, help="processes of each case (default 3)")
    parser.add_argument("--seconds", type=positive, default=1.0, help="how long a process repeats its call")
    parser.add_argument(
        "--most-seconds",
        type=positive,
        default=60.0,
        help="leave a model's longer lengths out after a call of more (default 60)",
    )
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--picture", type=Path, help="SVG file to write")
    asked = parser.parse_args(arguments)
    asked.lengths = sorted(set(asked.lengths))
    return asked


def main(arguments: Sequence[str] | None = None, *, run: Run | None = None) -> int:
    """Measure, print, write; returns the exit code: 0 done, 1 it cannot be, 2 usage, 130 interrupted."""
    asked, saved = parsed(arguments), {}
    try:
        models = chosen(asked)
        for path in (asked.json, asked.picture):
            if path:
                must_be_writable(path)
        for saved in measured(asked, models, run or in_a_process):
            keep(saved, asked)
        draw(saved, asked)
    except (CaseError, SavedRunError, OSError) as error:
        print(f"length.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        draw(saved, asked)
        print("length.py: interrupted; files hold what was measured", file=sys.stderr)
        return 130
    print(summary(saved))
    return 0


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main())
