"""Frames made anew by filters and networks: all that the source's frame said beside its samples is kept."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.filter import Graph

from contract.job import Spec
from contract.settings import Settings
from media.alpha import alpha_of
from testkit.film_damage import Amounts, damage, pan
from testkit.filtered import COLOUR
from testkit.materials.check import pictures
from testkit.materials.in_process import Restored, restore
from testkit.materials.write import Film, write
from workers.film.picture import Picture
from workers.generators.registry import load

GRAIN = Amounts(flicker=0.05, grain=4.0)


def fields(data: bytes) -> list[tuple[bool, bool]]:
    """Return of each frame whether it is interlaced, and whether its top field comes first: FFmpeg leaves such frames alone."""
    found = []
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(video=0):
            plain = frame.reformat(format="yuv422p")
            graph = Graph()
            source = graph.add_buffer(
                width=plain.width, height=plain.height, format=plain.format, time_base=Fraction(1, 1)
            )
            order, sink = graph.add("fieldorder", "order=tff"), graph.add("buffersink")
            source.link_to(order)
            order.link_to(sink)
            graph.configure()
            before = plain.to_ndarray()
            graph.vpush(plain)
            found.append((frame.interlaced_frame, np.array_equal(before, graph.vpull().to_ndarray())))
    return found


@pytest.mark.parametrize(("codec", "target"), [("x264", "mp4"), ("ffv1", "mkv"), ("prores", "mov")])
@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize(
    "changes", [{"steady": 1.0}, {"model": "lanczos", "scale": 1}], ids=["a filter", "a generator"]
)
def test_fields_keep_their_order(
    changes: dict[str, object], order: str, codec: str, target: str, tmp_path: Path
) -> None:
    """Each frame of a film that stays interlaced is interlaced in the result, with the same field first."""
    form = Film("mpegts", "mpeg2video", {"g": "12", "bf": "0", "b": "3M", "flags": "+ildct+ilme"}, interlaced=order)
    data = write(form)
    source = tmp_path / "film.ts"
    source.write_bytes(data)
    spec = Spec(**{"model": "identity", "codec": codec, "deinterlace": "off", **changes})  # type: ignore[arg-type]
    enhancer = None if spec.model == "identity" else load(spec, {}, Settings(device="cpu"))
    done = restore(source, f"result.{target}", spec, tmp_path, enhancer)
    assert fields(done.data) == fields(data) == [(True, order == "tff")] * 48


@pytest.mark.parametrize(("order", "fiel"), [(2, 1), (3, 6), (4, 9), (5, 14)])
@pytest.mark.parametrize(("codec", "target"), [("ffv1", "mkv"), ("x264", "mp4"), ("prores", "mov")])
def test_fields_of_quicktime_keep_their_order(codec: str, target: str, order: int, fiel: int, tmp_path: Path) -> None:
    """Each `fiel` of QuickTime, also those of fields stored in another order than shown, gives the field that its frames show first."""

    def dress(container: av.container.OutputContainer, stream: av.VideoStream) -> None:
        del container
        stream.codec_context.field_order = order

    data = write(Film("mov", "v210", pix_fmt="yuv422p10le", frames=4, dress=dress))
    assert data[data.find(b"fiel") + 4 :][:2] == bytes((2, fiel))
    source = tmp_path / "film.mov"
    source.write_bytes(data)
    spec = Spec(model="identity", codec=codec, deinterlace="off", steady=1.0)  # type: ignore[arg-type]
    done = restore(source, f"result.{target}", spec, tmp_path)
    assert fields(done.data) == fields(data) == [(True, order in (2, 4))] * 4
    assert not any("interlaced" in note for note in done.notes if "does not keep" in note)


def film(folder: Path, pix_fmt: str, still: bool = False) -> Path:
    """Write a film of PNG pictures in `pix_fmt`."""
    clean = pan(8, 48, 64)
    shown = clean[:1] * 8 if still else damage(clean, GRAIN, 3).damaged
    with av.open(str(folder / "film.nut"), "w") as out:
        stream = out.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        for n, picture in enumerate(shown):
            if pix_fmt == "pal8":
                palette = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, 1)
                palette[:, 0] = 255
                frame = av.VideoFrame.from_ndarray((picture[..., 1], palette), format="pal8")
            else:
                frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = n, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return folder / "film.nut"


def steadied(source: Path, folder: Path, steady: float) -> Restored:
    """Restore a film with --steady."""
    return restore(source, "result.mkv", Spec(model="identity", codec="ffv1", steady=steady), folder)


@pytest.mark.parametrize("pix_fmt", ["pal8", "monob"])
def test_filters_work_on_what_palettes_and_few_bits_show(pix_fmt: str, tmp_path: Path) -> None:
    """A palette cannot be written again, and one bit would be dithered: filtered frames have 8 bits, others are as without a filter."""
    source = film(tmp_path, pix_fmt)
    plain, made = (pictures(steadied(source, tmp_path, amount).data) for amount in (0.0, 1.0))
    assert [p.crc for p in plain] != [p.crc for p in made]
    source = film(tmp_path, pix_fmt, still=True)
    plain, made = (pictures(steadied(source, tmp_path, amount).data) for amount in (0.0, 1.0))
    assert [p.crc for p in plain] == [p.crc for p in made]


def test_filtered_bits_are_not_dithered(tmp_path: Path) -> None:
    """Means of black and white in a film of one bit are grey."""
    with av.open(io.BytesIO(steadied(film(tmp_path, "monob"), tmp_path, 1.0).data)) as container:
        shown = np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])
    assert len(np.unique(shown)) > 2


def test_grey_keeps_its_alpha() -> None:
    """Grey with alpha, whose opaque format has no place for it, keeps it."""
    frame = av.VideoFrame.from_ndarray(pan(1, 16, 24)[0], "rgb24").reformat(format="ya8")
    alpha = np.arange(16 * 24, dtype=np.uint8).reshape(16, 24)
    lines = np.zeros((16, frame.planes[0].line_size), np.uint8)
    lines[:, 1:48:2] = alpha
    frame.planes[0].update(lines.tobytes())
    picture = Picture(frame)
    made = picture.with_planes([255 - plane for plane in picture.planes], COLOUR)
    assert made.format.name == "ya8"
    assert np.array_equal(alpha_of(made), alpha)
    assert np.array_equal(Picture(made).planes[0], 255 - picture.planes[0])
