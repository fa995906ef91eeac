"""The program in which a decoder runs: `python decoder_loop.py DECODER ARGUMENTS...`; see elman.readers.apart.

Lines of standard input, each a path as JSON, are answered with a line of facts as JSON and the bytes whose number it
tells. It knows nothing of Elman, so that it starts fast.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path


def main() -> None:
    """Answer each line by `decode(path, *arguments)` of the decoder's file."""
    program, *arguments = sys.argv[1:]
    decode = runpy.run_path(program)["decode"]
    for line in sys.stdin.buffer:
        try:
            facts, data = decode(Path(json.loads(line)), *arguments)
        except (OSError, MemoryError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "more than there is memory for"
            facts, data = {"error": f"must be readable; got {reason}"}, b""
        sys.stdout.buffer.write(json.dumps({**facts, "bytes": len(data)}).encode() + b"\n" + data)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
