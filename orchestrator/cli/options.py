"""The job options of `run` and `submit`, and the spec that they make."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from contract.errors import UsageError
from contract.job import SALVAGE, Codec, Face, Spec
from orchestrator.cli.terminal import echo
from orchestrator.submission.piece_bounds import bounds
from orchestrator.submission.presets import AUTO, FILM, PACED, PHOTOGRAPH, PRESETS

F = TypeVar("F", bound=Callable[..., Any])

FILMS = ("mp4", "m4v", "mov", "qt", "mkv", "webm", "ts", "m2ts", "mts")
"""Suffixes of an OUT that is one film."""
READ_ONLY = ("avi", "dv", "flv", "mpeg", "mpg", "mxf", "nut", "ogv", "vob", "wmv")
"""Suffixes of films that are read but not written: their containers hold no exact times, or not all streams."""
_PICTURES_READ_ONLY = frozenset(
    {
        "gif",
        "bmp",
        "dib",
        "jp2",
        "j2k",
        "jpf",
        "jpx",
        "jxl",
        "heic",
        "heif",
        "hif",
        "psd",
        "psb",
        "pbm",
        "pgm",
        "ppm",
        "pnm",
        "pam",
    }
    | {"tga", "exr", "hdr", "pcx", "sgi", "svg", "eps", "pdf", "ico", "dpx", "dng", "cr2", "nef", "arw", "apng"}
)
"""Suffixes of an OUT that is one image in a format that is not written."""
PICTURES = {"png": "png", "tif": "tiff", "tiff": "tiff", "jpg": "jpg", "jpeg": "jpg", "webp": "webp"}
"""Suffixes of an OUT that is one image, and the format each asks for."""

_ENCODERS = {
    "h264": "x264", "h.264": "x264", "avc": "x264", "x264": "x264", "h265": "x265", "h.265": "x265", "hevc": "x265", "x265": "x265",
    "av1": "svtav1", "svt-av1": "svtav1", "aom-av1": "svtav1", "vpx-vp9": "vp9", "ffv1": "ffv1", "prores_ks": "prores",
    "prores_aw": "prores", "apple prores": "prores", "vp9": "vp9", "svtav1": "svtav1", "prores": "prores",
    "nvenc": "h264_nvenc", "nvenc_h264": "h264_nvenc", "nvenc_hevc": "hevc_nvenc", "nvenc_av1": "av1_nvenc",
}  # fmt: skip
"""Names that users give to codecs, without FFmpeg's prefix ``lib`` and in lower case, and the encoder that makes each."""

_PROFILES: dict[str, dict[str, Any]] = {
    "preservation": {"codec": "ffv1", "container": "mkv", "image_format": "tiff"},
    "access": {"codec": "x264", "container": "mp4", "image_format": "jpg", "faststart": True},
}
"""Options that a profile sets; an option on the command line goes before it."""


class _Codec(click.Choice[str]):
    """An encoder's name; a codec's or FFmpeg's name is refused with ours beside it."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return `value` if it is one of the choices; fail with the one that was meant."""
        if value not in self.choices and (meant := _ENCODERS.get(value.lower().removeprefix("lib"))):
            self.fail(f"{value!r} is {meant} here; give --codec {meant}.", param, ctx)
        if value not in self.choices and (near := get_close_matches(value.lower(), self.choices, 2, 0.5)):
            self.fail(f"{value!r} is no encoder; did you mean {' or '.join(near)}?", param, ctx)
        return super().convert(value, param, ctx)


def _tile(ctx: click.Context, param: click.Parameter, value: str) -> int:
    del ctx, param
    if value == "auto":
        return 0
    if not value.isdecimal() or not 16 <= int(value) <= 65536:
        raise click.BadParameter(f"{value!r} is neither auto nor a number of pixels from 16 to 65536.")
    return int(value)


def _exclude(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    del ctx, param
    found = []
    for value in values:
        parts = value.split(",")
        if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
            raise click.BadParameter(f"{value!r} is not a rectangle; give X,Y,WIDTH,HEIGHT in pixels of the source.")
        found.append(tuple(int(part) for part in parts))
    return tuple(found)


_OPTIONS = (
    click.option("-m", "--model", help=f"Generator; see `respool models list` (default: {FILM} for films, {PHOTOGRAPH} for images)."),
    click.option("--for", "material", type=click.Choice(list(PRESETS)), help="Kind of material, or fast: sets the model and options; options that you give override it."),
    click.option("-s", "--scale", type=float, help="Enlargement, any factor up to 16 (default: the model's own)."),
    click.option("--denoise", type=click.FloatRange(0, 1), help="Strength of noise removal, for models with a denoising twin."),
    click.option("--face-enhance", is_flag=True, help="Restore faces with GFPGAN. Off by default: it invents detail."),
    click.option("--face-strength", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="How much of the restored face is pasted back."),
    click.option("--face-model", default="GFPGANv1.4", show_default=True, help="Network that restores faces."),
    click.option("--face-min-size", type=click.IntRange(1), default=16, show_default=True, help="Leave faces alone that are fewer pixels wide in the source."),
    click.option("--face-only-largest", is_flag=True, help="Restore the largest face of a picture alone."),
    click.option("--face-exclude", multiple=True, callback=_exclude, metavar="X,Y,W,H", help="Leave faces in this rectangle of the source alone; may be repeated."),
    click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto", show_default=True, help="Arithmetic of the network."),
    click.option("--tile", default="auto", show_default=True, callback=_tile, metavar="auto|N", help="Side of the tiles that large pictures are cut into."),
    click.option("--codec", type=_Codec(get_args(Codec)), default="x264", show_default=True, help="Encoder of films; those named nvenc are of an NVIDIA card."),
    click.option("--crf", type=click.FloatRange(0, 63), help="Quality of the encoder: lower is better and larger."),
    click.option("--preset", help="Speed of the encoder, in its own words; x264 has one of ours too: quick, the default of films enlarged to 3 megapixels and more."),
    click.option("--pix-fmt", help="Pixel format of films (default: the source's)."),
    click.option("--container", type=click.Choice(sorted(FILMS)), help="File format of films (default: the source's, or OUT's)."),
    click.option("--faststart", is_flag=True, help="Put the index of mp4 and mov first, for the web."),
    click.option("--image-format", type=click.Choice(["auto", "png", "tiff", "jpg", "webp"]), default="auto", show_default=True, help="File format of images."),
    click.option("--alpha", type=click.Choice(["network", "bicubic"]), default="network", show_default=True, help="How transparency is enlarged."),
    click.option("--deinterlace", type=click.Choice(["auto", "off", "bwdif"]), default="auto", show_default=True, help="What to do with interlaced films."),
    click.option("--steady", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Calm a film's grain by what neighbouring frames agree on, so that detail does not boil: 0 is off, 1 weighs them fully."),
    click.option("--deflicker", is_flag=True, help="Level a film's brightness where it flickers within a shot; fades and single flashes stay."),
    click.option("--dirt", is_flag=True, help="Fill a film's dirt: blotches of one frame that both neighbours lack. What flies, falls or flashes is left."),
    click.option("--stabilise", is_flag=True, help="Remove gate weave with sub-pixel precision; pans and drifts are kept."),
    click.option("--scratches", is_flag=True, help="Fill a film's scratches: narrow vertical lines that stay while the picture moves, or that it shines through."),
    click.option("--grain", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Take a film's own grain off before it is enhanced, and put this part of it back at the new size: 0 is off, 1 is all of it."),
    click.option("--masks", is_flag=True, help="Write a film of masks beside each film's result: what the filters over time changed, losslessly, at the source's size."),
    click.option("--from", "piece_from", metavar="TIME", help="Restore a piece of a film: from its first frame at TIME on (90, 1:30, 0:01:30.5, frame:250)."),
    click.option("--to", "piece_to", metavar="TIME", help="Restore a piece of a film: its frames before TIME."),
    click.option("--hdr", is_flag=True, help="Accept HDR films (PQ, HLG), which networks were not trained on."),
    click.option("--on-unheld", type=click.Choice(["refuse", "sidecar", "convert", "drop"]), default="refuse", show_default=True, help="What to do with sound and subtitles that the result cannot hold: sidecar puts them beside it, convert makes sound lossless."),
    click.option("--video-stream", type=click.IntRange(0), help="Restore this stream of films with several pictures (default: the largest)."),
    click.option("--program", type=click.IntRange(0), help="Restore the picture of this program of films with several."),
    click.option("--chunk-frames", type=click.IntRange(0), default=0, help="Frames a chunk (default: by size and model)."),
    click.option("--strict", is_flag=True, help="Fail an item rather than deliver it damaged or converted."),
    click.option("--witness", type=click.Choice(["full", "sample", "off"]), default="full", show_default=True, help="Check sources, and results of films, with a second decoder: all; one image in ten and the first tenth of films; none."),
    click.option("--salvage", type=click.IntRange(0, 100), default=SALVAGE, show_default=True, metavar="N", help="Deliver a damaged picture when at least N percent of its rows can be decoded."),
    click.option("--white", type=click.FloatRange(0, min_open=True), metavar="VALUE", help="Sample value of images that is white (default: what the file says, else the format's largest, 1 for floats)."),
    click.option("--profile", type=click.Choice(sorted(_PROFILES)), help="preservation: FFV1 in mkv, TIFF; access: x264 in mp4, JPEG, --faststart."),
)  # fmt: skip


def priority_option(function: F) -> F:
    """Add --priority to a command that submits a job for the user; it arrives as `priority`."""
    said = "Of your jobs, the higher comes first; below 4, others' jobs do too."
    return click.option("--priority", type=click.IntRange(0, 9), default=4, show_default=True, help=said)(function)


def job_options(function: F) -> F:
    """Add every option of a spec to a command; they arrive as one dictionary through `spec_of`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def _rate(ctx: click.Context, param: click.Parameter, value: str | None) -> Fraction | None:
    del ctx, param
    if value is None:
        return None
    from orchestrator.submission.sequence import parse_rate

    return parse_rate(value)


def fail_on_option(function: F) -> F:
    """Add --fail-on, the severity from which on a finished job exits with 1; it arrives as `fail_on`."""
    said = "Exit with 1 where the worst of a finished job is at least this."
    choice = click.Choice(["loss", "damage", "failure"])
    return click.option("--fail-on", type=choice, default="failure", show_default=True, help=said)(function)


def sequence_option(function: F) -> F:
    """Add --sequence, which makes each SRC a folder of numbered images; it arrives as `sequence`, a rate or None."""
    said = "SRC are folders of numbered DPX, TIFF or PNG files: each is one film with this frame rate."
    return click.option("--sequence", metavar="RATE", callback=_rate, help=said)(function)


def spec_of(options: dict[str, Any], out: Path | None = None) -> Spec:
    """Build the spec that `options` ask for; the suffix of `out`, when it is one file, chooses the file format.

    Raises UsageError for values that contradict each other or make no sense.
    """
    values = dict(options)
    profile, material = values.pop("profile"), values.pop("material")
    values["piece"] = bounds(values.pop("piece_from"), values.pop("piece_to"))
    values.pop("priority", None)  # of the job, and no part of its spec
    given = click.get_current_context().get_parameter_source
    by_hand = (click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.DEFAULT_MAP)
    values |= {name: value for name, value in _PROFILES.get(profile, {}).items() if given(name) not in by_hand}
    values |= _preset(material, values, lambda name: given(name) in by_hand)
    face = Face(
        model=values.pop("face_model"),
        strength=values.pop("face_strength"),
        min_size=values.pop("face_min_size"),
        only_largest=values.pop("face_only_largest"),
        exclude=values.pop("face_exclude"),
    )
    if not values.pop("face_enhance"):
        for name in ("face_model", "face_strength", "face_min_size", "face_only_largest", "face_exclude"):
            if given(name) in by_hand:
                raise UsageError(f"--{name.replace('_', '-')} does nothing without --face-enhance; add it.")
        values["face"] = None
    else:
        values["face"] = face
    scale = values["scale"]
    if scale is not None and not 0 < scale <= 16:
        raise UsageError(f"--scale is {scale:g}; give a factor above 0 and up to 16.")
    suffix = out.suffix.lower().lstrip(".") if out else ""
    if out is not None and suffix in READ_ONLY and not out.is_dir():
        raise UsageError(
            f"{out} cannot be written: .{suffix} holds no exact times; name it {out.with_suffix('.mkv').name}."
        )
    if out is not None and suffix in _PICTURES_READ_ONLY and not out.is_dir():
        raise UsageError(
            f"{out} cannot be written: .{suffix} is no format that Respool writes; name it {out.with_suffix('.png').name} or "
            f"{out.with_suffix('.tif').name}."
        )
    if suffix in FILMS:
        asked = values["container"] if given("container") in by_hand else None
        values["container"] = _agree("--container", asked, suffix)
    elif suffix in PICTURES:
        asked = values["image_format"] if given("image_format") in by_hand else None
        values["image_format"] = _agree("--image-format", asked, PICTURES[suffix])
    return Spec(**values)


def _preset(material: str | None, values: dict[str, Any], by_hand: Callable[[str], bool]) -> dict[str, Any]:
    """Return the options that --for sets, and AUTO for a model that nothing names; tell where a given option goes before."""
    found: dict[str, Any] = {} if values["model"] else {"model": AUTO}
    sets = dict(PRESETS.get(material or "", {}))
    if material == "fast" and values["codec"] in PACED:
        sets["preset"] = PACED[values["codec"]]
    elif material == "fast":
        echo(f"note: --for fast sets --preset for {' and '.join(PACED)} alone.", err=True)
    for name, value in sets.items():
        if by_hand(name):
            echo(
                f"note: --for {material} sets --{name} {value}; --{name} {values[name]} is given, and is used.",
                err=True,
            )
        else:
            found[name] = value
    return found


def _agree(option: str, asked: str | None, suffix: str) -> str:
    if asked is not None and asked != suffix:
        raise UsageError(f"{option} asks for {asked}, but the output's name for {suffix}; change one of them.")
    return suffix


def media_suffix(path: Path) -> bool:
    """Return True when the suffix of `path` is that of a film or an image."""
    suffix = path.suffix.lower().lstrip(".")
    return suffix in FILMS or suffix in READ_ONLY or suffix in PICTURES or suffix in _PICTURES_READ_ONLY


def written_suffix(source: Path) -> str:
    """Return the suffix of a result that is named after `source`: its own where it is written, else that of a format that is."""
    suffix = source.suffix.lower().lstrip(".")
    if suffix in FILMS or suffix in PICTURES:
        return source.suffix
    return ".mkv" if suffix in READ_ONLY or suffix not in _PICTURES_READ_ONLY else ".png"


def one_file(out: Path, sources: tuple[Path, ...], folders: bool = False) -> bool:
    """Return True when OUT names the file to write: it has a media suffix, and there is one source.

    A folder is a single source only with `folders`.
    """
    return media_suffix(out) and len(sources) == 1 and (folders or not sources[0].is_dir()) and not out.is_dir()
