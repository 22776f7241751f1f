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
from testkit.materials.in_process import restore
from testkit.materials.write import Film, write
from workers.generators.registry import load


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
