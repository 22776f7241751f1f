"""Sources of training data: pictures and films, in folders or in the store, found by name and read as RGB."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import av.error
import numpy as np

from contract.errors import BadInput, UsageError
from contract.settings import Settings
from stores.file_digest import file_sha256
from stores.storage import Storage
from training.degrade import film, picture
from training.degrade.apply import Pixels
from workers.shot_detection import Thumbnail, is_cut, thumbnail

_STORE = "s3://"
STRIDE = 24
"""Of so many frames of a shot, two neighbours are taken: frames between them show little that is new."""
MOST_OF_A_SHOT = 8


@dataclass(frozen=True)
class Source:
    """A file that may hold training data. `name` is a path or ``s3://bucket/key``, `path` where its bytes are here."""

    name: str
    path: Path

    @property
    def is_film(self) -> bool:
        """Tell films from pictures by the suffix."""
        return self.path.suffix.lower() in film.SUFFIXES


def find(names: tuple[str, ...], settings: Settings) -> list[Source]:
    """List the pictures and films that `names` mean, each a file, a folder or a place in the store, in order of name.

    Objects are fetched into the cache. Raises UsageError for a name that does not exist or has no picture or film.
    """
    found: list[Source] = []
    for name in names:
        here = _objects(name, settings) if name.startswith(_STORE) else _files(Path(name).expanduser().absolute())
        if not here:
            raise UsageError(
                f"{name} has no picture or film; files end in {', '.join((*picture.SUFFIXES, *film.SUFFIXES))}."
            )
        found += here
    return found


def _known(name: str) -> bool:
    return Path(name).suffix.lower() in (*picture.SUFFIXES, *film.SUFFIXES)


def _files(path: Path) -> list[Source]:
    if path.is_file():
        return [Source(str(path), path)]
    if not path.is_dir():
        raise UsageError(f"{path} does not exist; name pictures, films, folders of them, or s3://bucket/prefix.")
    return [Source(str(p), p) for p in sorted(path.rglob("*")) if p.is_file() and _known(p.name)]


def _objects(name: str, settings: Settings) -> list[Source]:
    bucket, _, prefix = name.removeprefix(_STORE).partition("/")
    storage = Storage(replace(settings, s3_bucket=bucket))
    keys = [key for key, _ in storage.list(prefix) if _known(key)]
    return [Source(f"{_STORE}{bucket}/{key}", fetch_object(storage, key, settings)) for key in keys]


def fetch_object(storage: Storage, key: str, settings: Settings) -> Path:
    """Bring an object into the cache under the hash of its bytes; one whose recorded hash is here already is not fetched again."""
    found = storage.stat(key)
    if not found:
        raise UsageError(f"object {key} is not in bucket {storage.bucket}; name one that is.")
    here = _cached(found[1], key, settings) if found[1] else None
    if here is not None:
        return here
    folder = _cache(settings)
    folder.mkdir(parents=True, exist_ok=True)
    # Objects that other programs uploaded have no recorded hash, and several processes may fetch one at a time.
    with tempfile.TemporaryDirectory(dir=folder, prefix="part-") as part:
        fetched = Path(part) / "object"
        path = folder / f"{storage.get_file(key, fetched)}{Path(key).suffix.lower()}"
        fetched.replace(path)
    return path


def _cache(settings: Settings) -> Path:
    return settings.cache / "training" / "objects"


def _cached(sha256: str, key: str, settings: Settings) -> Path | None:
    path = _cache(settings) / f"{sha256}{Path(key).suffix.lower()}"
    return path if path.is_file() and file_sha256(path) == sha256 else None


def reread(name: str, sha256: str, settings: Settings) -> Path:
    """Find the bytes of a source again; raise BadInput when they are gone or are others than those of `sha256`."""
    if name.startswith(_STORE):
        bucket, _, key = name.removeprefix(_STORE).partition("/")
        path = _cached(sha256, key, settings) or fetch_object(
            Storage(replace(settings, s3_bucket=bucket)), key, settings
        )
    else:
        path = Path(name)
    try:
        found = file_sha256(path)
    except OSError as error:
        raise BadInput(
            f"{name} cannot be read ({error.strerror or error}); the run needs it, bring it back."
        ) from error
    if found != sha256:
        raise BadInput(f"{name} has SHA-256 {found}, but the run began with {sha256}; start a new run for new data.")
    return path


@dataclass(frozen=True)
class Frame:
    """A frame taken from a film: its number in output order, its shot, its pixels."""

    number: int
    shot: int
    pixels: Pixels


def frames(path: Path) -> Iterator[Frame]:
    """Take pairs of neighbouring frames from every shot of a film, in order.

    Raises BadInput when the film cannot be read. Interlaced frames are not taken apart; deinterlace such films first.
    """
    options = {"format_whitelist": film.CONTAINERS, "protocol_whitelist": "file"}
    try:
        with av.open(str(path), options=options) as opened:
            if not opened.streams.video:
                raise BadInput(f"{path.name} has no video stream.")
            last: Thumbnail | None = None
            shot, begun, taken = 0, 0, 0
            for number, frame in enumerate(opened.decode(opened.streams.video[0])):
                pixels = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
                small = thumbnail(pixels)
                if last is not None and is_cut(last, small):
                    shot, begun, taken = shot + 1, number, 0
                last = small
                if (number - begun) % STRIDE in (0, 1) and taken < MOST_OF_A_SHOT:
                    taken += 1
                    yield Frame(number, shot, pixels)
    except av.error.FFmpegError as error:
        raise BadInput(f"{path.name} cannot be read as a film: {error.strerror or error}.") from error


def codec(path: Path) -> str:
    """Return FFmpeg's name of a film's video codec, empty without a video stream."""
    options = {"format_whitelist": film.CONTAINERS, "protocol_whitelist": "file"}
    try:
        with av.open(str(path), options=options) as opened:
            return opened.streams.video[0].codec_context.name if opened.streams.video else ""
    except av.error.FFmpegError as error:
        raise BadInput(f"{path.name} cannot be read as a film: {error.strerror or error}.") from error


def read(path: Path) -> Pixels:
    """Read a picture as H x W x 3 RGB uint8; raise BadInput when it cannot be."""
    return picture.read_picture(path)
