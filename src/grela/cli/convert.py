"""`grela convert`: a checkpoint of the reference implementation as a model of this library."""

from pathlib import Path

import click

from grela.errors import RunError


@click.command(short_help="Convert a reference checkpoint (.pth) to safetensors.")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--heads", "num_heads", type=int, required=True, help="Attention heads of the checkpoint's model."
)
@click.option("--max-length", type=int, required=True, help="MAX_ITEM_LIST_LENGTH of its training.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write.")
def convert(checkpoint: Path, num_heads: int, max_length: int, out: Path) -> None:
    """Convert CHECKPOINT, weights saved by the reference implementation, and write the model to a folder.

    The model computes exactly what the reference does (padding included). The file is read as weights alone:
    no code in it is run. Load it with grela.models.io.load_model.

    \b
    grela convert RecGRELA.pth --heads 4 --max-length 200 --out models/reference
    """
    from grela.models.io import from_reference, read_reference, save_model

    model = from_reference(read_reference(checkpoint), num_heads=num_heads, max_length=max_length)
    try:
        out.mkdir(parents=True, exist_ok=True)
        save_model(model, out)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror or error}; give another --out") from error
    c = model.config
    click.echo(
        f"{c.num_items:,} items, width {c.width}, {c.heads} heads, {c.layers} layers, written to {out}"
    )
