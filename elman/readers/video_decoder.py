"""Decodes videos and images in a process of its own; see elman.readers.apart.

It knows nothing of Elman, so that it starts fast and whatever a damaged file does to FFmpeg's libraries ends here.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

_ORIENTATION = 0x0112  # tag of EXIF
_TURNS = {2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, -1), 7: (True, -1), 8: (False, 1)}
"""What EXIF's orientations ask for: whether left and right are to be swapped, then quarter turns to the left."""


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
            if container.format.name == "gif" and _is_cut_off(path.read_bytes()):
                return {"error": "must be a whole GIF; got one that is cut off"}, b""
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            still = container.format.name == "image2" or container.format.name.endswith("_pipe")
            if still:  # what a photograph that is cut off lacks would be grey
                stream.codec_context.options = {"err_detect": "explode"}
            turn = _turn(path) if still else None
            promised, found = stream.frames, _Frames(int(size), colours, float(rate), turn)
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    return {"error": f"must have whole frames; frame {found.count + 1} is corrupt"}, b""
                found.take(frame)
    except av.FFmpegError as error:
        return {"error": f"must be a video or image that FFmpeg can read; got {error.strerror}"}, b""
    if not found.count or found.count < promised:
        return {"error": f"must have the {promised} frames that it announces; got {found.count}"}, b""
    return {"kept": found.kept, "count": found.count}, b"".join(found.pixels)


def _is_cut_off(gif: bytes) -> bool:
    """Whether a GIF ends within a block: FFmpeg takes what there is of it, and makes up the rest of a frame."""
    at = 13 + _colours(gif[10])
    try:
        while at < len(gif) and gif[at] != 0x3B:  # some programs leave out this last byte
            if gif[at] not in (0x21, 0x2C):  # neither an extension nor a frame: what follows is not of the GIF
                return False
            at += 2 if gif[at] == 0x21 else 11 + _colours(gif[at + 9])
            while gif[at]:
                at += gif[at] + 1
            at += 1
    except IndexError:
        return True
    return False


def _colours(flags: int) -> int:
    """How many bytes a table of colours has, by the byte that announces it."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _turn(path: Path) -> tuple[bool, int]:
    """What makes a photograph stand upright, a value of _TURNS."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return _TURNS.get(image.getexif().get(_ORIENTATION, 1), (False, 0))
    except (OSError, ValueError, TypeError, LookupError, SyntaxError, struct.error, Image.DecompressionBombError):
        return False, 0  # what stands beside the pixels may be damaged; they are decoded all the same


def _on_white(frame: Any) -> Any:
    """A frame as it is seen on a white page: below what is transparent stands any colour, often black."""
    if not frame.format.has_palette and not any(component.is_alpha for component in frame.format.components):
        return frame
    import numpy as np

    pixels = frame.to_ndarray(format="rgba").astype(np.float32)
    shares = pixels[:, :, 3:] / 255
    if shares.min() == 1:
        return frame
    return type(frame).from_ndarray(np.rint(pixels[:, :, :3] * shares + 255 * (1 - shares)).astype(np.uint8))


class _Frames:
    """Frames made small and upright, of which as many a second are kept as asked for.

    Args:
        size: Width and height.
        colours: "gray" or "rgb24".
        rate: Frames a second; 0 for all.
        turn: Of an image; None where frames say themselves how they are shown.
    """

    def __init__(self, size: int, colours: str, rate: float, turn: tuple[bool, int] | None) -> None:
        self.size, self.colours, self.rate, self.turn = size, colours, rate, turn
        self.count, self.kept, self.pixels = 0, list[int](), list[bytes]()
        self.due: float | None = None

    def take(self, frame: Any) -> None:
        if not self.rate or frame.time is None or self._is_due(frame.time):
            # The mean of the pixels that become one, so that what is small does not vanish between them.
            small = _on_white(frame).reformat(self.size, self.size, self.colours, interpolation="AREA")
            self.kept.append(self.count)
            self.pixels.append(self._upright(small.to_ndarray(), frame.rotation).tobytes())
        self.count += 1

    def _upright(self, pixels: Any, degrees: int) -> Any:
        """Pixels as they are shown: phones write frames as the sensor lies, and beside them how to turn them."""
        import numpy as np

        swapped, quarters = self.turn or (False, round(degrees / 90))
        return np.rot90(pixels[:, ::-1] if swapped else pixels, quarters)

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
