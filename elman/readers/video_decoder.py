"""The program that decodes videos and images, one a line of standard input, in a process of its own; see
elman.readers.apart.

It knows nothing of Elman, so that it starts fast and whatever a damaged file does to FFmpeg's libraries ends here.
Its arguments: width and height of a frame, "gray" or "rgb24", frames a second or 0 for all.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def decode(path: Path, size: int, colours: str, rate: float) -> tuple[dict[str, Any], bytes]:
    """Return which frames of a video were kept of how many, and their pixels (T, size, size, channels) as bytes."""
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                return {"error": "must hold moving pictures; got no video stream"}, b""
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            promised, found = stream.frames, _Frames(size, colours, rate)
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    return {"error": f"must have whole frames; frame {found.count + 1} is corrupt"}, b""
                found.take(frame)
    except av.FFmpegError as error:
        return {"error": f"must be a video or image that FFmpeg can read; got {error.strerror}"}, b""
    if not found.count or found.count < promised:
        return {"error": f"must have the {promised} frames that it announces; got {found.count}"}, b""
    return {"kept": found.kept, "count": found.count}, b"".join(found.pixels)


class _Frames:
    """Frames made small, of which as many a second are kept as asked for."""

    def __init__(self, size: int, colours: str, rate: float) -> None:
        self.size, self.colours, self.rate = size, colours, rate
        self.count, self.kept, self.pixels = 0, list[int](), list[bytes]()

    def take(self, frame: Any) -> None:
        if not self.rate or frame.time is None or frame.time * self.rate >= len(self.kept) - 1e-6:
            # The mean of the pixels that become one, so that what is small does not vanish between them.
            small = frame.reformat(self.size, self.size, self.colours, interpolation="AREA")
            self.kept.append(self.count)
            self.pixels.append(small.to_ndarray().tobytes())
        self.count += 1


def main() -> None:
    """Answer each line, a path as JSON, with a line of facts as JSON and the bytes whose number it tells."""
    size, colours, rate = sys.argv[1:4]
    for line in sys.stdin.buffer:
        try:
            facts, data = decode(Path(json.loads(line)), int(size), colours, float(rate))
        except (OSError, MemoryError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "more pixels than there is memory for"
            facts, data = {"error": f"must be readable; got {reason}"}, b""
        sys.stdout.buffer.write(json.dumps({**facts, "bytes": len(data)}).encode() + b"\n" + data)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
