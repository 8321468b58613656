"""One self-contained page from a template: no script, no address outside itself, written whole or not at all."""

import os
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from grela.errors import RunError
from grela.reporting import text


def page(template: str, values: Mapping[str, object]) -> str:
    """The template filled with the values, all texts escaped, no character that HTML forbids."""
    environment = Environment(
        loader=PackageLoader("grela.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(text.FILTERS)
    return text.with_visible_controls(environment.get_template(template).render(values))


def write_page(html: str, path: Path) -> None:
    """Write the page to `path`, whole or not at all: a reader never sees half a page.

    Raises RunError when the file cannot be written; a page already at `path` is then untouched.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(html)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RunError(
            f"cannot write the report {path}: {error.strerror or error}; "
            "check that its folder exists, is writable and has space left"
        ) from error
