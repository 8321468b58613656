"""`grela export`: a run's model as ONNX graphs."""

from pathlib import Path

import click


@click.command(short_help="Write a run's model as ONNX graphs.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder to write.")
def export(run: Path, out: Path) -> None:
    """Write the model of RUN as ONNX: encoder, single step and scores, for runtimes without PyTorch.

    \b
    pip install 'grela[export]'
    grela export runs/ml-100k --out exported/ml-100k

    The graphs take a history of any length and any number of users. docs/export.md says how to call them.
    """
    from grela.export.onnx import export_onnx
    from grela.recommender import Recommender

    recommender = Recommender.load(run, device="cpu")
    catalogue = recommender.split.histories.catalogue
    for path in export_onnx(recommender.model, out, items=catalogue.ids.to_pylist()):
        click.echo(f"{path}  {path.stat().st_size:,} bytes")
