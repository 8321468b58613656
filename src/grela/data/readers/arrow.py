"""Sources that already are Arrow, or become it without parsing text: Parquet files and data frames."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from grela.data.readers.files import is_gzip, opened
from grela.data.readers.scan import ROWS_PER_CHUNK, Chunk, Scan
from grela.errors import ReadError


def open_parquet(path: Path) -> Scan:
    """Open a Parquet file, packed by gzip or not (then it is unpacked into a temporary file in every pass)."""
    with _parquet(path) as file:
        header = tuple(file.schema_arrow.names)
    return Scan(
        str(path), header, "Parquet", typed=True, chunks=lambda columns: _parquet_chunks(path, columns)
    )


@contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    if not is_gzip(path):
        with opened(path) as file:
            yield file
        return
    with tempfile.TemporaryFile() as plain:
        with opened(path) as packed:
            shutil.copyfileobj(packed, plain)
        plain.seek(0)
        yield plain


@contextmanager
def _parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """The opened file; whatever Arrow finds wrong with it, now or while it is read, becomes ReadError."""
    with _unpacked(path) as source:
        try:
            with pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False) as file:
                yield file
        except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
            first = str(error).strip().partition("\n")[0]
            raise ReadError(
                f"{path} is not a Parquet file, or damaged or truncated ({first or type(error).__name__}); "
                f"write or get it again"
            ) from error


def _parquet_chunks(path: Path, columns: Sequence[int]) -> Iterator[Chunk]:
    with _parquet(path) as file:
        names = [file.schema_arrow.names[j] for j in columns]
        row = 1
        for batch in file.iter_batches(batch_size=ROWS_PER_CHUNK, columns=names, use_threads=False):
            if len(batch):
                yield Chunk(tuple(batch.column(name) for name in names), row, "row")
            row += len(batch)
        if row - 1 != file.metadata.num_rows:
            raise ReadError(
                f"{path} says that it has {file.metadata.num_rows} rows, but {row - 1} can be read"
            )


def open_frame(frame: Any) -> Scan:
    """Open anything with the Arrow PyCapsule interface (`__arrow_c_stream__`) that can be streamed more than once."""
    if isinstance(frame, pa.RecordBatchReader):
        raise ReadError(
            "a RecordBatchReader can be read only once; pass reader.read_all(), or the file it reads"
        )
    with _foreign():
        header = tuple(pa.RecordBatchReader.from_stream(frame).schema.names)
    return Scan(
        "data frame", header, "data frame", typed=True, chunks=lambda columns: _frame_chunks(frame, columns)
    )


def _frame_chunks(frame: Any, columns: Sequence[int]) -> Iterator[Chunk]:
    with _foreign():
        reader = pa.RecordBatchReader.from_stream(frame)
    row = 1
    while True:
        with _foreign():
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
        for start in range(0, len(batch), ROWS_PER_CHUNK):
            part = batch.slice(start, ROWS_PER_CHUNK)
            yield Chunk(tuple(part.column(j) for j in columns), row + start, "row")
        row += len(batch)


@contextmanager
def _foreign() -> Iterator[None]:
    """The frame's own library runs in here, and may raise anything at all."""
    try:
        yield
    except (StopIteration, ReadError):
        raise
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        raise ReadError(
            f"the data frame cannot be read through Arrow ({type(error).__name__}: {first}); "
            f"pass a table whose columns each have one type"
        ) from error
