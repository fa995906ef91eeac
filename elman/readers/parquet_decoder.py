"""Decodes Parquet files in a process of its own; see elman.readers.apart.

It knows nothing of Elman, so that it starts fast and whatever a damaged file does to Arrow ends here. It answers with
the rows as a stream of Arrow's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def decode(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return how many rows a file has, and the rows."""
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            sink, count = pyarrow.BufferOutputStream(), 0
            with pyarrow.ipc.new_stream(sink, file.schema_arrow) as stream:
                for batch in file.iter_batches(use_threads=False):
                    stream.write_batch(batch)
                    count += batch.num_rows
    except (pyarrow.ArrowException, ValueError) as error:
        return {"error": f"must be a whole Parquet file; got one of which Arrow says: {_first_line(error)}"}, b""
    return {"rows": count}, sink.getvalue().to_pybytes()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
