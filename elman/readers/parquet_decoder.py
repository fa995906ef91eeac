"""The program that decodes Parquet files, one a line of standard input, in a process of its own; see
elman.readers.apart.

It knows nothing of Elman, so that it starts fast and whatever a damaged file does to Arrow ends here. It answers with
the rows as a stream of Arrow's own.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def decode(path: str) -> tuple[dict[str, Any], bytes]:
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


def main() -> None:
    """Answer each line, a path as JSON, with a line of facts as JSON and the bytes whose number it tells."""
    for line in sys.stdin.buffer:
        try:
            facts, data = decode(json.loads(line))
        except (OSError, MemoryError) as error:
            facts, data = {"error": f"must be readable; got {_first_line(error)}"}, b""
        sys.stdout.buffer.write(json.dumps({**facts, "bytes": len(data)}).encode() + b"\n" + data)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
