"""A numbered sequence of images becomes one film: every file, unchanged, is one packet of a QuickTime film.

Nothing is encoded, so nothing can be lost, and each file's SHA-256 still holds in the stored source. Each file is opened
by itself and decoded once: FFmpeg never sees a name or a pattern, and what would fail in a worker is refused here.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import av
import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from contract.errors import BadInput, Unsupported, UsageError
from contract.film import ImageSequence, SequenceFile
from contract.packets import MAX_PAYLOAD
from contract.settings import Settings
from contract.severity import Loss
from media.decoding import NO_PICTURE, PacketDecoder
from media.images import vips
from media.images.dpx import is_dpx, read_header
from media.images.header import read_pages
from media.images.sniff import sniff
from media.opening import DecoderLog, reason
from orchestrator.submission.numbering import numbered
from orchestrator.submission.sources import Found, SourceFile, apart, usable

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

Form = Literal["dpx", "tiff", "png"]
Progress = Callable[[str, int, int], None]

NTSC = Fraction(1000, 1001)
SLOWEST, FASTEST = Fraction(1), Fraction(1000)
"""Frames per second; archives hold films of 8 to 60."""
_PIXELS = ("gray", "gray16le", "gray16be", "rgb24", "rgb48le", "rgb48be", "gbrp", "gbrp16le", "gbrp16be")
"""Pixel formats of decoded TIFF and PNG of 8 and 16 bits, grey and RGB."""
_BIG_TIFF = (b"II+\0", b"MM\0+")
_LAYOUT = (259, 262, 266, 284, 317, 322)
"""Tags of a TIFF on which its reading depends: compression, colour, order of bits, planes, predictor, tiles."""


@dataclass(frozen=True)
class _Look:
    """Properties that all images of a film share."""

    form: Form
    width: int
    height: int
    pix_fmt: str

    def __str__(self) -> str:
        return f"{self.form.upper()} of {self.width}x{self.height} ({self.pix_fmt})"


def parse_rate(text: str) -> Fraction:
    """Parse frames per second: ``24``, ``24000/1001`` or ``23.976`` (24000/1001); raise UsageError for anything else."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(
            f"--sequence is {text!r}, which is not a frame rate; give 24, 25, 16 or 24000/1001."
        ) from error
    if not SLOWEST <= rate <= FASTEST or rate.denominator > 1_000_000:
        raise UsageError(f"--sequence is {text}; give a frame rate from {SLOWEST} to {FASTEST}.")
    near = round(rate / NTSC) * NTSC
    return near if "." in text and rate.denominator != 1 and abs(near - rate) < Fraction(1, 200) else rate


@contextmanager
def gathered(
    sources: Sequence[Path], rate: Fraction | None, settings: Settings, progress: Progress | None = None
) -> Iterator[Sequence[Path] | Found]:
    """Yield the sources of a submission: `sources`, or, with a `rate`, one packed film for each folder in the context.

    Raises BadInput, Unsupported or UsageError, in one sentence that names the file.
    """
    if rate is None:
        yield sources
        return
    scratch = settings.scratch if settings.scratch != Path() else None
    with tempfile.TemporaryDirectory(prefix="respool-", dir=scratch) as place:
        notes: list[str] = []
        files = []
        for n, folder in enumerate(apart([SourceFile(s, usable(s.resolve().name, notes), True) for s in sources])):
            packed = Path(place) / f"{n}.mov"
            made, said = pack_sequence(numbered(folder.path, notes), folder.name, rate, packed, progress)
            notes += said
            files.append(SourceFile(packed, folder.name, True, made))
        yield Found(files, notes)


def pack_sequence(
    paths: Sequence[Path], name: str, rate: Fraction, out: Path, progress: Progress | None = None
) -> tuple[ImageSequence, list[str]]:
    """Write the images `paths` as the film `out` at `rate` frames per second.

    Returns the list of images, and notes that begin with the film's `name`. One image is in memory at a time, and equal
    images give an equal film.
    """
    total = sum(path.stat().st_size for path in paths)
    free = shutil.disk_usage(out.parent).free
    if free < total:
        raise UsageError(
            f"{out.parent} has {free / 1e9:.1f} GB free, and packing {name} takes {total / 1e9:.1f}; name a larger folder in "
            "RESPOOL_SCRATCH."
        )
    files: list[SequenceFile] = []
    notes: list[str] = []
    first: _Look | None = None
    trusted: set[object] = set()
    done = 0
    # bitexact: neither a random id nor a version of FFmpeg's may make another job of the same images
    with av.open(str(out), "w", format="mov", container_options={"fflags": "+bitexact"}) as film:
        for n, path in enumerate(paths):
            label = f"{name}/{usable(path.name, [])}"
            data = _read(path, label)
            look = _inspect(data, label, notes if first is None else None, trusted)
            if first is None:
                first = look
                stream = film.add_mux_stream(look.form, rate=rate, width=look.width, height=look.height)
                stream.time_base = 1 / rate
            elif look != first:
                raise BadInput(f"{label} is a {look}, but {files[0].name} a {first}; make all images of a film alike.")
            packet = av.Packet(len(data))
            packet.update(data)
            packet.stream, packet.time_base = stream, 1 / rate
            packet.pts = packet.dts = n
            packet.duration, packet.is_keyframe = 1, True
            film.mux(packet)
            files.append(SequenceFile(usable(path.name, []), hashlib.sha256(data).hexdigest(), len(data)))
            done += len(data)
            if progress is not None:
                progress("packing", done, total)
    assert first is not None
    made = ImageSequence(first.form, (rate.numerator, rate.denominator), tuple(files))
    return made, [f"{name}: {describe(made)}", *(f"{name}: {note}" for note in notes)]


def describe(made: ImageSequence) -> str:
    """Describe a packed sequence in one clause."""
    files, rate = made.files, Fraction(*made.rate)
    names = files[0].name if len(files) == 1 else f"{files[0].name} to {files[-1].name}"
    count = "1 file" if len(files) == 1 else f"{len(files)} files"
    return f"{count} ({made.format.upper()}, {names}) at {rate} frames/s, each kept byte for byte as one frame"


def _read(path: Path, label: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PAYLOAD)
    except OSError as error:
        raise BadInput(f"{label} cannot be read ({error.strerror}); check its permissions.") from error
    if not data:
        raise BadInput(f"{label} is an empty file, not an image; copy it again from where it came.")
    if len(data) == MAX_PAYLOAD:
        raise Unsupported(f"{label} has a gigabyte or more, which no frame of a film may have; submit it as an image.")
    return data


def _inspect(data: bytes, label: str, notes: list[str] | None, trusted: set[object]) -> _Look:
    """Return shape and format of one image, decoded to be sure; `notes`, given for the first, get what the film loses.

    `trusted` holds the pixel layouts that were already verified.
    """
    form = _form(data, label)
    if form == "dpx":
        header = read_header(data, label)
        if notes is not None and header.transfer:
            notes.append(f"code values are {header.transfer}, as the files say, and are processed as they are")
        frame = _decode(data, form, label)
    else:
        layout = _check_picture(data, label, notes)
        frame = _decode(data, form, label)
        if frame.format.name not in _PIXELS:
            raise Unsupported(f"{label} decodes to {frame.format.name}; convert it to grey or RGB of 8 or 16 bits.")
        if layout not in trusted:
            _compare(data, form, frame, label)
            trusted.add(layout)
    return _Look(form, frame.width, frame.height, frame.format.name)


def _form(data: bytes, label: str) -> Form:
    form = "dpx" if is_dpx(data) else sniff(data)
    if form == "dpx" or form == "tiff" or form == "png":
        return form
    raise BadInput(f"{label} is not a DPX, TIFF or PNG image; take it out of the sequence's folder, or convert it.")


def _check_picture(data: bytes, label: str, notes: list[str] | None) -> object:
    """Refuse what FFmpeg's decoders ignore silently; return the pixel layout, to be compared."""
    if data[:4] in _BIG_TIFF:
        raise Unsupported(f"{label} is a BigTIFF, which the film's decoder does not read; save it as a plain TIFF.")
    pages, _ = read_pages(io.BytesIO(data), label)
    picture = pages[0].picture
    wrong = (
        f"has {len(pages)} pages" if len(pages) > 1
        else f"is to be shown turned (orientation {picture.orientation})" if picture.orientation > 1
        else "has an alpha channel" if picture.alpha
        else "is CMYK" if picture.mode == "cmyk"
        else "has a palette" if picture.palette
        else "has floating point samples" if picture.floating
        else f"has {picture.depth}-bit samples" if picture.depth not in (8, 16)
        else ""
    )  # fmt: skip
    if wrong:
        raise Unsupported(f"{label} {wrong}; the images of a film are upright grey or RGB pictures of 8 or 16 bits.")
    if notes is not None and picture.profile:
        notes.append(
            Loss("the images' colour profile stays with the source; the film's code values are processed as they are")
        )
    directory = pages[0].directory
    return data[:2], directory and tuple(directory.number(tag, 0) for tag in _LAYOUT)


def _decode(data: bytes, form: Form, label: str) -> VideoFrame:
    """Decode the image's only frame; raise BadInput for any complaint of the decoder."""
    packet = cast("Packet[VideoStream]", av.Packet(len(data)))  # av.Packet(data) would have no padding behind it
    packet.update(data)
    context: VideoCodecContext = av.CodecContext.create(form, "r")
    context.thread_count = 1
    context.copy_opaque = True
    trouble: dict[int, str] = {}
    with DecoderLog(form) as log:
        decoder = PacketDecoder(context, log, trouble.setdefault)
        try:
            frames = [frame for _, frame in (*decoder.feed(packet, 0), *decoder.drain(0))]
        except (ValueError, MemoryError) as error:
            raise BadInput(f"{label} cannot be decoded ({reason(error)}); copy it again from where it came.") from error
    if trouble or len(frames) != 1:
        raise BadInput(f"{label} cannot be decoded ({trouble.get(0, NO_PICTURE)}); copy it again from where it came.")
    return frames[0]


def _compare(data: bytes, form: Literal["tiff", "png"], frame: VideoFrame, label: str) -> None:
    """Compare a decoded image with libvips' reading of it: FFmpeg 8 takes a tiled TIFF for a striped one, for example."""
    plain: npt.NDArray[np.generic] = frame.to_ndarray()
    other = vips.load(data, form, label).numpy()
    if not np.array_equal(plain.reshape(-1), other.reshape(-1)):
        raise Unsupported(f"{label} is read differently by FFmpeg and libvips; save the images as plain RGB TIFF.")
