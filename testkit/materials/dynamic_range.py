"""Materials that are high dynamic range by one piece of evidence only, and some that only look so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from testkit.materials.joined import box, patched, with_box
from testkit.materials.recipe import Material, film, x265
from testkit.materials.write import Film, write

TEN_BITS = Film("mp4", "libx265", x265(), pix_fmt="yuv420p10le")
DISPLAY: dict[str, Any] = {
    "master-display": "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)",
    "max-cll": "1000,400",
}


def dolby_vision(profile: int, compatible: int) -> bytes:
    """HEVC without colour tags whose sample entry carries a Dolby Vision record (ETSI TS 103 572 annex)."""
    record = bytes((1, 0, profile << 1, 1 << 3 | 0b101, compatible << 4)) + bytes(19)
    return with_box(write(TEN_BITS), b"hev1", box(b"dvcC" if profile < 8 else b"dvvC", record))


def tagged_inside() -> bytes:
    """PQ in the bitstream, BT.709 in the container's own words."""
    data = write(replace(TEN_BITS, colour=(1, 9, 16, 9)))
    return data.replace(b"nclx\0\x09\0\x10\0\x09", b"nclx\0\x01\0\x01\0\x01")


def alternative_transfer(value: int) -> bytes:
    """BT.2020 whose pictures ask for another transfer function by message (ITU-T H.265 D.2.38)."""
    nal = b"\x4e\1" + bytes((147, 1, value, 0x80))
    data = write(replace(TEN_BITS, colour=(1, 9, 14, 9)))
    return patched(data, "mp4", lambda n, d: (len(nal).to_bytes(4, "big") + nal + d if n % 12 == 0 else d, {}))


DYNAMIC_RANGE: tuple[Material, ...] = (
    Material("dolby-vision-5", "mp4", lambda: dolby_vision(5, 0), expect="refused", says="Dolby Vision, profile 5"),
    Material("dolby-vision-8.4", "mp4", lambda: dolby_vision(8, 4), expect="refused", says="Dolby Vision, profile 8"),
    Material("dolby-vision-8.2-is-sdr", "mp4", lambda: dolby_vision(8, 2), says="dovi configuration record"),
    Material(
        "untagged-with-mastering-display",
        "mkv",
        film(replace(TEN_BITS, format="matroska", options=x265(**DISPLAY))),
        expect="refused",
        says="without a transfer function",
    ),
    Material("pq-in-the-pictures-only", "mp4", tagged_inside, expect="refused", says="pictures' own tag"),
    Material("hlg-by-message-only", "mp4", lambda: alternative_transfer(18), expect="refused", says="HLG"),
    Material(
        "sdr-with-mastering-display",
        "mkv",
        film(replace(TEN_BITS, format="matroska", options=x265(**DISPLAY), colour=(1, 1, 1, 1))),
    ),
)
