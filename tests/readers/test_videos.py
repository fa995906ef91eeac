"""Clips: every form reads the same frames, labels of clips and of frames, and broken files cost themselves alone."""

from __future__ import annotations

import json
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

from elman.errors import DataError, MissingExtraError, MissingInputError, UsageError
from elman.readers import apart
from elman.readers.examples import Rejects
from elman.readers.videos import Clips, VideoReading, read_videos

GREYS = (40, 200, 120, 80)


def write_clip(path: Path, greys: tuple[int, ...] = GREYS, codec: str = "mpeg4") -> Path:
    """A clip of 48 x 32 pixels, 4 frames a second, each frame of one grey with a black left half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(4))
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for grey in greys:
            pixels = np.full((32, 48, 3), grey, dtype=np.uint8)
            pixels[:, :24] = 0
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_times(path: Path, times: list[int]) -> Path:
    """A clip of small frames at these times, in milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 8, 8, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for time in times:
            frame = av.VideoFrame.from_ndarray(np.zeros((8, 8, 3), dtype=np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_images(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for n, grey in enumerate(GREYS):
        pixels = np.full((32, 48), grey, dtype=np.uint8)
        pixels[:, :24] = 0
        Image.fromarray(pixels).save(folder / f"{n:02}.png")
    return folder


def check(frames: np.ndarray, channels: int = 1) -> None:
    assert frames.shape == (len(GREYS), 8, 8, channels) and frames.dtype == np.uint8
    assert np.abs(frames[:, :, 5:].mean(axis=(1, 2, 3)) - GREYS).max() < 8, "lossy, but these greys"
    assert frames[:, :, :3].max() < 16


@pytest.mark.parametrize("name", ["x.mp4", "x.avi", "x.webm", "images"])
@pytest.mark.parametrize("colour", [False, True])
def test_every_kind_of_clip_has_the_same_frames(name: str, colour: bool, tmp_path: Path) -> None:
    path = tmp_path / "walk" / name
    if name == "images":
        write_images(path)
    else:
        write_clip(path, codec="libvpx" if name == "x.webm" else "mpeg4")
    (found,) = read_videos(tmp_path, VideoReading(size=8, colour=colour))
    assert (found.where, found.y) == (str(path), "walk")
    check(found.x.frames, 3 if colour else 1)


def test_manifests_name_labels_of_clips_and_frames(tmp_path: Path) -> None:
    write_clip(tmp_path / "clips" / "a.mp4")
    rows = [
        {"path": "clips/a.mp4", "label": "walk", "who": "ann", "split": "dev"},
        {"path": "clips/a.mp4", "labels": "up up down down", "who": "bob", "split": "test"},
        {"path": str(tmp_path / "clips/a.mp4"), "labels": ["a", "b", "c", "d"], "who": "bob", "split": "train"},
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")
    columns = {"group": "who", "part": "split"}
    found = list(read_videos(tmp_path / "m.jsonl", VideoReading(columns=columns, size=8)))
    assert [(e.y, e.group, e.part) for e in found] == [
        ("walk", "ann", "validation"),
        (("up", "up", "down", "down"), "bob", "test"),
        (("a", "b", "c", "d"), "bob", "train"),
    ]
    fewer = VideoReading(columns=columns, size=8, frames_per_second=2)
    assert [e.y for e in read_videos(tmp_path / "m.jsonl", fewer)][1:] == [("up", "down"), ("a", "c")]
    assert len(next(read_videos(tmp_path / "m.jsonl", fewer)).x.frames) == 2


@pytest.mark.parametrize(
    ("times", "kept"),
    [
        ([100 * n for n in range(12)], [0, 5, 10]),
        ([9_000 + 100 * n for n in range(12)], [0, 5, 10]),
        ([0, 100, *(9_000 + 100 * n for n in range(10))], [0, 2, 7]),
        ([0, 490, 1_010, 1_490, 2_000, 2_500], [0, 2, 3, 4, 5]),
        ([900 * n for n in range(8)], list(range(8))),
    ],
    ids=["from 0 on", "from another time on", "a gap", "times that tremble", "fewer than asked for"],
)
def test_so_many_frames_a_second_are_kept(times: list[int], kept: list[int], tmp_path: Path) -> None:
    with Clips(VideoReading(size=8, frames_per_second=2)) as clips:
        assert clips.clip(write_times(tmp_path / "x.mkv", times))[1:] == (kept, len(times))


def test_images_are_frames_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = ["frame0.png", "frame1.png", "frame2.png", "frame10.png", "frame10b.png", "frame011.png", "frame100.png"]
    for n, name in enumerate(names):
        Image.new("L", (8, 8), 10 * n).save(tmp_path / name)
    with Clips(VideoReading(size=8)) as clips:
        assert clips.clip(tmp_path)[0].frames[:, 0, 0, 0].tolist() == [10 * n for n in range(len(names))]


def test_a_figure_that_is_no_digit_may_stand_in_a_name(tmp_path: Path) -> None:
    for n, name in enumerate(("a1.png", "a1²2.png", "a10.png")):
        Image.new("L", (8, 8), 10 * n).save(tmp_path / name)
    with Clips(VideoReading(size=8)) as clips:
        assert clips.clip(tmp_path)[0].frames[:, 0, 0, 0].tolist() == [0, 10, 20]


def corner(frames: np.ndarray) -> str:
    """Where the light quarter of the first frame is."""
    light = np.argwhere(frames[0, :, :, 0] > 128).mean(axis=0) > 3.5
    return f"{'bottom' if light[0] else 'top'} {'right' if light[1] else 'left'}"


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_stand_upright(orientation: int, suffix: str, tmp_path: Path) -> None:
    pixels = np.zeros((32, 48), dtype=np.uint8)
    pixels[:16, :24] = 255
    about = Image.Exif()
    about[0x0112] = orientation
    image = Image.fromarray(pixels)
    image.save(tmp_path / f"x.{suffix}", exif=about)
    with Clips(VideoReading(size=8)) as clips:
        found = clips.clip(tmp_path / f"x.{suffix}")[0].frames
    turned = ImageOps.exif_transpose(Image.open(tmp_path / f"x.{suffix}")).convert("L").resize((8, 8))
    assert corner(found) == corner(np.asarray(turned)[None, :, :, None])


@pytest.mark.parametrize(
    ("matrix", "where"),
    [((1, 0, 0, 1), "top left"), ((0, 1, -1, 0), "top right"), ((-1, 0, 0, -1), "bottom right")],
)
def test_videos_stand_as_they_are_shown(matrix: tuple[int, ...], where: str, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        pixels = np.zeros((32, 48, 3), dtype=np.uint8)
        pixels[:16, :24] = 255
        container.mux([*stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")), *stream.encode()])
    a, b, c, d = (value << 16 for value in matrix)
    head, name, rest = (tmp_path / "x.mp4").read_bytes().partition(b"tkhd")  # what players turn a track by
    plain, turned = (struct.pack(">9i", *m, 0, 0, 0, 1 << 30) for m in ((1 << 16, 0, 0, 0, 1 << 16), (a, b, 0, c, d)))
    (tmp_path / "x.mp4").write_bytes(head + name + rest.replace(plain, turned, 1))
    with Clips(VideoReading(size=8)) as clips:
        assert corner(clips.clip(tmp_path / "x.mp4")[0].frames) == where


@pytest.mark.parametrize("name", ["x.png", "x.webp", "grey.png", "palette.png", "x.gif"])
def test_what_is_transparent_is_white(name: str, tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 4), dtype=np.uint8)  # black throughout: what is drawn is its opaque half
    pixels[:, :8, 3] = 255
    image = Image.fromarray(pixels)
    if name == "palette.png":
        flat = Image.new("P", image.size)
        flat.putpalette([0, 0, 0, 0, 0, 0])
        flat.paste(1, (8, 0, 16, 16))
        flat.save(tmp_path / name, transparency=1)
    else:
        image.convert("LA" if name == "grey.png" else "RGBA").save(tmp_path / name)
    for colour in (False, True):
        with Clips(VideoReading(size=8, colour=colour)) as clips:
            frame = clips.clip(tmp_path / name)[0].frames[0]
        assert frame[:, :3].max() < 8 and frame[:, 5:].min() > 247


def test_without_labels_clips_are_enough(tmp_path: Path) -> None:
    write_clip(tmp_path / "clips" / "b.mp4")
    write_images(tmp_path / "clips" / "a")
    (tmp_path / "clips" / "README.md").write_text("about", encoding="ascii")
    how = VideoReading(labelled=False, size=8)
    for path, names in ((tmp_path / "clips", ["a", "b.mp4"]), (tmp_path / "clips" / "a", ["a"])):
        found = list(read_videos(path, how))
        assert [(e.x.path.name, e.y) for e in found] == [(name, None) for name in names]
    assert len(list(read_videos(tmp_path / "clips" / "b.mp4", how))) == 1
    assert [e.x.path.name for e in read_videos(tmp_path, how)] == ["a", "b.mp4"], "folders by label are read, too"


def test_an_image_beside_videos_makes_no_clip_of_their_folder(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / "clips" / name)
    Image.new("L", (8, 8)).save(tmp_path / "clips" / "a.jpg")
    for path in (tmp_path / "clips", tmp_path):
        found = read_videos(path, VideoReading(labelled=False, size=8))
        assert [e.x.path.name for e in found] == ["a.mp4", "b.mp4"]


BROKEN = {
    "a text": ("b.mp4", b"this is no video", "must be a video or image that FFmpeg can read"),
    "nothing": ("b.mp4", b"", "must hold something; the file is empty"),
    "half of a clip, its index lost": ("b.mp4", None, "must be a video|must hold moving pictures"),
    "half of a clip, its index whole": (
        "b.avi",
        None,
        "must be a video|must have the 4 frames that it announces|corrupt",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_clip_is_told_or_left_out(case: str, tmp_path: Path) -> None:
    name, data, message = BROKEN[case]
    for good in ("a.mp4", "c.mp4"):
        write_clip(tmp_path / "up" / good)
    broken = tmp_path / "up" / name
    whole = write_clip(broken).read_bytes()
    # An AVI has its index at the end, its headers and frames before it.
    cut = len(whole) // 2 if name == "b.mp4" else whole.rindex(b"idx1") - 200
    broken.write_bytes(whole[:cut] if data is None else data)
    with pytest.raises(DataError, match=rf"{name}: .*({message})"):
        list(read_videos(tmp_path, VideoReading(size=8)))
    rejects = Rejects(skip=True)
    found = list(read_videos(tmp_path, VideoReading(rejects, size=8)))
    assert [e.x.path.name for e in found] == ["a.mp4", "c.mp4"]
    assert [row["where"] for row in rejects.rows] == [str(broken)]


def test_a_gif_that_is_cut_off_is_told(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 16, 16), dtype=np.uint8)
    first, *others = map(Image.fromarray, noise)
    first.save(tmp_path / "x.gif", save_all=True, append_images=others)
    whole = (tmp_path / "x.gif").read_bytes()
    with Clips(VideoReading(size=8)) as clips:
        for data in (whole, whole[:-1], whole + b"more"):
            (tmp_path / "x.gif").write_bytes(data)
            assert len(clips.clip(tmp_path / "x.gif")[0].frames) == 3
        for share in (0.5, 0.7, 0.9, 0.99):
            (tmp_path / "x.gif").write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(DataError, match=r"x\.gif: must be a whole GIF; got one that is cut off"):
                clips.clip(tmp_path / "x.gif")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x.mp4,,", "must have a label, or labels for every frame"),
        ("x.mp4,,a b c", "must have a label a frame; got 4 frames and 3 labels"),
        ("y.mp4,a,", r"y\.mp4: file must exist; got none"),
        (",a,", "path must not be empty"),
        ("x.mp4,  ,", "must have a label, or labels for every frame"),
        ("empty,a,", "must hold images, .*; got none"),
        ("x.mp4,a,a a a a", "must have a label or labels for every frame; got both"),
        ("odd,a,", r"odd/1\.tga: must be an image of a form that is read, .*; got \.tga"),
    ],
)
def test_rows_that_cannot_be_used_are_told_with_their_line(row: str, message: str, tmp_path: Path) -> None:
    write_clip(tmp_path / "x.mp4")
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "1.tga").write_bytes(b"frame")
    (tmp_path / "m.csv").write_text(f"path,label,labels\nx.mp4,a,\n{row}\n", encoding="ascii")
    with pytest.raises(DataError, match=rf"m\.csv:3: .*{message}"):
        list(read_videos(tmp_path / "m.csv", VideoReading(size=8)))
    rejects = Rejects(skip=True)
    assert len(list(read_videos(tmp_path / "m.csv", VideoReading(rejects, size=8)))) == 1 == len(rejects)


@pytest.mark.parametrize("labels", [["a", "b", None, "a"], ["a", "b", " ", "a"]])
def test_a_frame_without_a_label_is_told(labels: list[str | None], tmp_path: Path) -> None:
    write_clip(tmp_path / "x.mp4")
    (tmp_path / "m.jsonl").write_text(json.dumps({"path": "x.mp4", "labels": labels}), encoding="ascii")
    with pytest.raises(DataError, match=r"m\.jsonl:1: must have a label a frame; frame 3 has none"):
        list(read_videos(tmp_path / "m.jsonl", VideoReading(size=8)))


def test_pillow_is_needed_and_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = apart.find_spec
    monkeypatch.setattr(apart, "find_spec", lambda name: None if name == "PIL" else there(name))
    with pytest.raises(MissingExtraError, match=r"video: PIL must be installed; got none"):
        list(read_videos(write_clip(tmp_path / "x.mp4"), VideoReading(labelled=False)))


def test_options_and_paths_that_do_not_fit_are_told(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "x.mp4")
    with pytest.raises(DataError, match="must have a label a clip"):
        list(read_videos(path, VideoReading()))
    with pytest.raises(DataError, match="must be a folder with a folder for each label"):
        list(read_videos(path, VideoReading(form="folders")))
    with pytest.raises(DataError, match="must be a file for format csv"):
        list(read_videos(tmp_path, VideoReading(form="csv")))
    with pytest.raises(UsageError, match=r"format: must be one of .*; got 'folder'; did you mean 'folders'"):
        list(read_videos(tmp_path, VideoReading(form="folder")))
    with pytest.raises(MissingInputError, match="data must exist"):
        list(read_videos(tmp_path / "none", VideoReading()))


def test_files_beside_clips_are_told_or_counted(tmp_path: Path) -> None:
    write_clip(tmp_path / "up" / "a.mp4")
    write_clip(tmp_path / "lost.mp4")
    (tmp_path / "up" / "b.mp5").write_text("another kind", encoding="ascii")
    (tmp_path / "README.md").write_text("about", encoding="ascii")
    rejects = Rejects(skip=True)
    assert [e.y for e in read_videos(tmp_path, VideoReading(rejects, size=8))] == ["up"]
    assert [(Path(row["where"]).name, row["problem"].partition(";")[0]) for row in rejects.rows] == [
        ("lost.mp4", "must stand in a folder named after its label"),
        ("b.mp5", "must be a clip, .mp4, .avi, .webm, .mkv, .mov, .m4v, .mpg, .mpeg, .gif or a folder of images"),
    ]
    with pytest.raises(DataError, match=r"lost\.mp4: must stand in a folder named after its label"):
        list(read_videos(tmp_path, VideoReading(size=8)))
