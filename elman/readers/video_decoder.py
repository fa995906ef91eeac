"""Decodes videos and images in a process of its own; see elman.readers.apart.

It knows nothing of Elman, so that it starts fast and whatever a damaged file does to FFmpeg's libraries ends here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def decode(path: Path, size: str, colours: str, rate: str) -> tuple[dict[str, Any], bytes]:
    """Return which frames of a video were kept of how many, and their pixels (T, size, size, channels) as bytes.

    Args:
        path: Of a video or an image.
        size: Width and height of a frame, a number in digits.
        colours: "gray" or "rgb24".
        rate: Frames a second, in digits; 0 for all.
    """
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                return {"error": "must hold moving pictures; got no video stream"}, b""
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            promised, found = stream.frames, _Frames(int(size), colours, float(rate))
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
        self.due: float | None = None

    def take(self, frame: Any) -> None:
        if not self.rate or frame.time is None or self._is_due(frame.time):
            # The mean of the pixels that become one, so that what is small does not vanish between them.
            small = frame.reformat(self.size, self.size, self.colours, interpolation="AREA")
            self.kept.append(self.count)
            self.pixels.append(small.to_ndarray().tobytes())
        self.count += 1

    def _is_due(self, time: float) -> bool:
        """Whether the next frame to be kept is this one."""
        step = 1 / self.rate
        # Times need not begin at 0, and may have gaps: no later frames are kept in place of those that never were.
        if self.due is None or time - self.due >= 2 * step:
            self.due = time
        if time < self.due - 1e-6 * step:
            return False
        self.due += step
        return True
