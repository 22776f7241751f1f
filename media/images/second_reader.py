"""The second opinion on a source's pixels: another decoder than libvips, chosen by format, as block means.

JPEG and WebP go through FFmpeg's own decoders, PNG through libspng (libvips uses libpng), TIFF strip by strip through tifffile and
imagecodecs, AVIF through libavif and dav1d (libvips: libheif and libaom).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import av
import imagecodecs
import numpy as np

from media.images.block_means import SIDE, BlockMeans, Means
from media.images.header import Page, stored_size
from media.images.second_opinion import Opinion, Undecodable, first_line
from media.images.second_reader_tiff import read_tiff
from media.images.tiff_samples import COMPRESSION

LARGE = 64_000_000
"""Pixels above which a decoder that wants the whole picture in memory is not asked, or asked for an eighth of its size."""
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def opinion(file: Path, page: Page) -> Opinion:
    """Decode one page of `file` with the second reader of its format. Raises Undecodable where there is none."""
    if page.picture.decoder == "libavif":
        raise Undecodable("no second reader takes an AVIF without colour")
    if page.picture.decoder == "tifffile":
        return _libtiff(file, page)
    reader = {
        "jpeg": _jpeg,
        "png": _png,
        "webp": _webp,
        "avif": _avif,
        "tiff": read_tiff,
        "jp2": _jp2,
        "bmp": _simple,
        "gif": _simple,
        "pnm": _simple,
        "psd": _simple,
        "jxl": _jxl,
        "heic": _heic,
    }.get(page.picture.format)
    if reader is None:
        raise Undecodable("no second reader knows this format")
    try:
        return reader(file, page)
    except (Undecodable, MemoryError):
        raise
    except Exception as error:  # decoders of damaged files fail in any way, and the first reader has read this one
        raise Undecodable(f"the second reader failed ({type(error).__name__}: {first_line(error)})") from error


def third_opinion(file: Path, page: Page) -> Opinion:
    """Decode a page with a third decoder, for pages that two read differently: FFmpeg's, of the first page of a TIFF."""
    if page.picture.format != "tiff" or page.index or page.picture.extra == "premultiplied":
        raise Undecodable("no third reader knows this format")
    return _ffmpeg("tiff", file, *stored(page), 0)


def stored(page: Page) -> tuple[int, int]:
    """(width, height) of the page as stored."""
    return stored_size(page.picture)


def _jpeg(file: Path, page: Page) -> Opinion:
    width, height = stored(page)
    if page.picture.mode == "cmyk":
        return _whole(_inks, "libjpeg-turbo", file, page, lossy=True)
    shift = 3 if width * height > LARGE else 0
    return _ffmpeg("mjpeg", file, width, height, shift)


def _inks(data: bytes) -> np.ndarray[Any, Any]:
    """Inks of a CMYK JPEG, which is stored inverted (Adobe technote 5116); libvips turns them round, libjpeg does not."""
    return 255 - np.asarray(imagecodecs.jpeg8_decode(data))


def _webp(file: Path, page: Page) -> Opinion:
    if page.picture.lossless:
        return _whole(imagecodecs.webp_decode, "libwebp", file, page)
    return _ffmpeg("webp", file, *stored(page), 0)


def _ffmpeg(codec: str, file: Path, width: int, height: int, shift: int) -> Opinion:
    """Return the picture as FFmpeg decodes it, at 1 / 2^shift of its size."""
    name = f"FFmpeg's {codec} decoder"
    data = file.read_bytes()
    packet = av.Packet(len(data))
    packet.update(data)
    complaint = ""
    try:
        frames = _decoded(codec, packet, shift, "explode")
    except av.error.PatchWelcomeError as error:
        raise Undecodable(f"{name} does not know this kind") from error
    except av.error.FFmpegError as error:
        complaint = f"{name} refuses it: {error.strerror}"
        try:
            frames = _decoded(codec, packet, shift, "")
        except av.error.FFmpegError:
            return Opinion(name, None, 0, complaint)
    if not frames:
        return Opinion(name, None, 0, f"{name} found no picture")
    frame = frames[0]
    if (frame.width, frame.height) != (-(-width >> shift), -(-height >> shift)):
        return Opinion(name, None, 0, f"{name} reads {frame.width} x {frame.height} pixels, not {width} x {height}")
    if (
        (frame.format.components[0].bits != 8 and not frame.format.name.startswith("mono"))
        or (frame.format.name.startswith(("yuva444p", "gbrap")) and codec == "mjpeg")
        or (frame.format.name.startswith("yuv") and codec == "jpeg2000")
    ):  # three components of a bare codestream are RGB
        raise Undecodable(f"{name} gives {frame.format.name}")
    form = "gray" if frame.format.name.startswith(("gray", "mono")) else "rgb24"
    samples = frame.to_ndarray(format=form).reshape(frame.height, frame.width, -1)
    return Opinion(name, _scaled_means(samples, width, height, shift), height, complaint, lossy=True)


def _decoded(codec: str, packet: av.Packet[Any], shift: int, strictness: str) -> list[av.VideoFrame]:
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, av.VideoCodecContext)
    context.thread_count = 1
    context.options = {"lowres": str(shift), **({"err_detect": strictness} if strictness else {})}
    return [*context.decode(packet), *context.decode(None)]


def _scaled_means(samples: np.ndarray[Any, Any], width: int, height: int, shift: int) -> Means:
    """Means of blocks of 16 x 16 pixels of the full size, from samples at 1 / 2^shift of it."""
    if shift == 0:
        blocks = BlockMeans(width, height, samples.shape[2])
        for top in range(0, height, 4 * SIDE):
            blocks.add(top, 0, samples[top : top + 4 * SIDE])
        return blocks.means()
    side = SIDE >> shift
    rows, columns = -(-height // SIDE), -(-width // SIDE)
    spare = ((0, rows * side - samples.shape[0]), (0, columns * side - samples.shape[1]), (0, 0))
    padded: Means = np.pad(samples, spare, mode="edge")
    means: Means = padded.reshape(rows, side, columns, side, -1).mean(axis=(1, 3))
    return means


def _png(file: Path, page: Page) -> Opinion:
    if page.picture.depth < 8 and page.picture.alpha and not page.picture.palette:
        raise Undecodable(
            "no second reader takes a transparent grey of fewer than 8 bits"
        )  # Pillow compares it unscaled
    if page.picture.palette or page.picture.depth < 8:
        from PIL import Image

        def expanded(data: bytes) -> np.ndarray[Any, Any]:
            import io

            with Image.open(io.BytesIO(data)) as image:
                wanted = {"grey": "L", "rgb": "RGB"}[page.picture.mode]
                wanted = {"L": "LA", "RGB": "RGBA"}[wanted] if page.picture.alpha else wanted
                return np.asarray(image.convert(wanted))

        return _whole(expanded, "Pillow", file, page)
    opinion = _whole(imagecodecs.spng_decode, "libspng", file, page)
    if opinion.means is None and "invalid format" in opinion.complaint:  # a transparent colour in 16-bit samples
        return _whole(imagecodecs.png_decode, "libpng", file, page)
    return opinion


def _avif(file: Path, page: Page) -> Opinion:
    return _whole(imagecodecs.avif_decode, "libavif", file, page, lossy=True)


def _libtiff(file: Path, page: Page) -> Opinion:
    """Pillow's libtiff, for compressions that libvips' libtiff lacks."""
    from PIL import Image

    def decode(_: bytes) -> np.ndarray[Any, Any]:
        with Image.open(file, formats=["TIFF"]) as image:
            image.seek(page.index)
            return np.asarray(image)

    code = page.directory.number(COMPRESSION, 1) if page.directory else 1
    if (
        code not in (34925, 50000)
        or page.picture.mode != "rgb"
        or page.picture.depth != 8
        or page.picture.palette
        or page.picture.pages > 1
        or page.picture.extra == "premultiplied"  # Pillow divides by alpha
    ):
        raise Undecodable("no second reader takes this compression of TIFF")
    return _whole(decode, "Pillow", file, page)


def _jp2(file: Path, page: Page) -> Opinion:
    if page.picture.alpha or page.picture.palette or page.picture.depth != 8:
        raise Undecodable("no second reader takes JPEG 2000 with more than 8 bits, alpha or a palette")
    return _ffmpeg("jpeg2000", file, *stored(page), 0)


def _simple(file: Path, page: Page) -> Opinion:
    """BMP, GIF, PNM and PSD through FFmpeg, where it gives what the file stores."""
    codecs = {"bmp": "bmp", "gif": "gif", "psd": "psd"}
    if (
        page.picture.mode == "cmyk"
        or page.picture.depth not in (1, 8)
        or (page.picture.format == "gif" and page.picture.alpha)
    ):
        raise Undecodable("no second reader takes inks, more than 8 bits or a transparent colour in this format")
    if page.picture.format == "pnm":
        kind = file.open("rb").read(2)
        codec = {b"P4": "pbm", b"P5": "pgm", b"P6": "ppm", b"P7": "pam"}.get(kind)
        if codec is None:
            raise Undecodable("no second reader takes Netpbm in text")
        return _ffmpeg(codec, file, *stored(page), 0)
    return _ffmpeg(codecs[page.picture.format], file, *stored(page), 0)


def _heic(file: Path, page: Page) -> Opinion:
    """FFmpeg's HEVC decoder, for a picture that is one stream and not a grid of tiles."""
    name = "FFmpeg's hevc decoder"
    width, height = stored(page)
    try:
        with av.open(str(file), format="mov", options={"protocol_whitelist": "file"}) as container:
            streams = container.streams.video
            if len(streams) != 1 or page.picture.depth != 8 or page.picture.alpha:
                raise Undecodable("no second reader takes HEIC in tiles, in more than 8 bits or with alpha")
            frame = next(container.decode(streams[0]))
    except (av.error.FFmpegError, StopIteration) as error:
        raise Undecodable(f"{name} does not open it") from error
    if (frame.width, frame.height) != (width, height):
        raise Undecodable(f"{name} does not turn or crop it")
    samples = frame.to_ndarray(format="rgb24")
    return Opinion(name, _scaled_means(samples, width, height, 0), height, lossy=True)


def _jxl(file: Path, page: Page) -> Opinion:
    def decode(data: bytes) -> np.ndarray[Any, Any]:
        import io

        import pillow_jxl  # noqa: F401  # registers itself with Pillow
        from PIL import Image

        with Image.open(io.BytesIO(data), formats=["JXL"]) as image:
            return np.asarray(image)

    return _whole(decode, "pillow-jxl", file, page, lossy=True)


def _whole(decode: Any, name: str, file: Path, page: Page, lossy: bool = False) -> Opinion:
    """Block means of a picture that `decode` gives as one array."""
    width, height = stored(page)
    if width * height > LARGE:
        raise Undecodable(f"{name} would hold {width} x {height} pixels in memory")
    try:
        samples = np.asarray(decode(file.read_bytes()))
    except (RuntimeError, ValueError, OSError, SyntaxError) as error:
        return Opinion(name, None, 0, f"{name} refuses it: {first_line(error)}")
    if samples.ndim == 2:
        samples = samples[..., None]
    if samples.shape[:2] != (height, width):
        if samples.shape[:2] == (width, height):
            raise Undecodable(f"{name} turned the picture")
        return Opinion(
            name, None, 0, f"{name} reads {samples.shape[1]} x {samples.shape[0]} pixels, not {width} x {height}"
        )
    top = float(np.iinfo(samples.dtype).max) if samples.dtype.kind == "u" else 1.0
    if samples.dtype == np.uint16 and page.picture.depth in (10, 12):
        top = float((1 << page.picture.depth) - 1)
    blocks = BlockMeans(width, height, samples.shape[2], top)
    for row in range(0, height, 4 * SIDE):
        blocks.add(row, 0, samples[row : row + 4 * SIDE])
    return Opinion(name, blocks.means(), height, lossy=lossy)


__all__ = ["LARGE", "Opinion", "Undecodable", "opinion", "stored", "third_opinion"]
