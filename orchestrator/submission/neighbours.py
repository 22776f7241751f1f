"""Files beside films and photographs: what they are, checksums that are checked, and XMP sidecars that go with results."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from contract.errors import BadInput
from contract.job import Item, Spec
from contract.severity import Loss
from media.images.geometry import Geometry
from media.images.header import read_picture, stored_size
from media.images.output_plan import choose_for
from media.images.xmp_geometry import moved
from orchestrator.submission.result_names import SIDECAR

MOST_SIDECAR = 16 << 20
_MOST_LIST = 64 << 20
_SYSTEM = frozenset(
    {"thumbs.db", "desktop.ini", "picasa.ini", "ehthumbs.db", "zbthumbnail.info", "pspbrwse.jbf", "albumart.pamp"}
)
"""Files that operating systems and picture browsers leave in folders, in lower case."""
_BROWSERS = frozenset(
    {
        ".jbf",
        ".bup",
        ".info",
        ".lnk",
        ".url",
        ".aae",
        ".pp3",
        ".dop",
        ".on1",
        ".cos",
        ".thm",
        ".lrcat",
        ".bridgesort",
        ".bc",
    }
)
_DOCUMENTS = frozenset(
    {
        ".txt",
        ".md",
        ".csv",
        ".tsv",
        ".xml",
        ".json",
        ".pdf",
        ".db",
        ".ini",
        ".log",
        ".html",
        ".htm",
        ".zip",
        ".7z",
        ".tar",
        ".gz",
        ".rar",
    }
    | {
        ".doc",
        ".docx",
        ".xls",
        ".xlsx",
        ".ppt",
        ".pptx",
        ".odt",
        ".ods",
        ".rtf",
        ".nfo",
        ".srt",
        ".yaml",
        ".yml",
        ".tex",
        ".mets",
        ".mods",
    }
)
_SOUND = frozenset({".wav", ".mp3", ".flac", ".aac", ".ogg", ".oga", ".m4a", ".aif", ".aiff", ".wma", ".opus"})
ALGORITHMS = {".md5": "md5", ".sha1": "sha1", ".sha256": "sha256", ".sha512": "sha512"}
_LISTS = {"md5sums": "md5", "sha1sums": "sha1", "sha256sums": "sha256", "sha512sums": "sha512"}
_LENGTHS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_LINE = re.compile(r"^\\?([0-9A-Fa-f]{32,128})(?:\s+[ *]?(.+))?$")
_BSD = re.compile(r"^(?:MD5|SHA1|SHA256|SHA512)\s*\((.+)\)\s*=\s*([0-9A-Fa-f]{32,128})$")


def described(name: str) -> str | None:
    """Return what a file beside sources is, by its name; None for one that may be a source."""
    low = name.lower()
    suffix = PurePosixPath(low).suffix
    if low in _SYSTEM or suffix in _BROWSERS:
        return "left by an operating system or a picture browser"
    if algorithm(name) is not None:
        return "a list of checksums"
    if suffix == SIDECAR:
        return "an XMP sidecar"
    if suffix in _DOCUMENTS:
        return "not a film or photograph"
    return "sound without a picture" if suffix in _SOUND else None


def algorithm(name: str) -> str | None:
    """Return the hash of a file of checksums, by its name; None for another file."""
    low = PurePosixPath(name.lower())
    known = ALGORITHMS.get(low.suffix) or _LISTS.get(low.stem if low.suffix == ".txt" else low.name)
    found = re.match(r"(?:tag)?manifest-(md5|sha1|sha256|sha512)\.txt$", low.name)
    return known or (found.group(1) if found else None)


class Checksums:
    """The checksums that lists beside the sources state, by path. `notes` tell of lists that cannot be used."""

    def __init__(self, lists: Iterable[Path]) -> None:
        self.notes: list[str] = []
        self._stated: dict[Path, tuple[str, str, Path]] = {}
        for path in lists:
            self._read(path)

    def _read(self, path: Path) -> None:
        kind = algorithm(path.name) or "md5"
        try:
            text = path.read_bytes()[:_MOST_LIST].decode("utf-8", "replace")
        except OSError as error:
            self.notes.append(Loss(f"{path} cannot be read ({error.strerror}); its checksums were not checked"))
            return
        wrong = missing = 0
        for line in filter(None, (line.strip().lstrip("\ufeff") for line in text.splitlines())):
            if line.startswith(("#", ";")):
                continue
            bsd, plain = _BSD.match(line), _LINE.match(line)
            digest = bsd.group(2) if bsd else plain.group(1) if plain else ""
            name = bsd.group(1) if bsd else (plain.group(2) if plain else None) or path.stem
            if len(digest) != _LENGTHS[kind]:
                wrong += 1
                continue
            file = path.parent / name.replace("\\", "/")
            if file.exists():
                self._stated[file.resolve()] = (kind, digest.lower(), path)
            else:
                missing += 1
        if wrong:
            self.notes.append(
                Loss(f"{path} holds {wrong} lines that are no {kind.upper()} checksums; they were not checked")
            )
        if missing:
            self.notes.append(f"{path} lists {missing} files that are not there")

    def __len__(self) -> int:
        return len(self._stated)

    def mismatch(self, path: Path) -> str:
        """Why a file is not the one that a list states; empty for one that is, or that no list states. Raises OSError."""
        stated = self._stated.get(path.resolve())
        if stated is None:
            return ""
        kind, expected, where = stated
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, kind).hexdigest()
        if found == expected:
            return ""
        return f"its {kind.upper()} is {found}, but {where.name} says {expected}; restore the file from another copy, or correct the list."


def beside(path: Path) -> list[Path]:
    """Return the lists of checksums that belong to a file that was named by itself."""
    names = [path.name + suffix for suffix in ALGORITHMS] + [path.stem + suffix for suffix in ALGORITHMS]
    return [place for name in names if (place := path.with_name(name)).is_file()]


def sidecar(path: Path) -> Path | None:
    """Return the XMP sidecar of a source: photo.jpg.xmp before photo.xmp, in any case of the suffix."""
    for name in (path.name + SIDECAR, path.name + SIDECAR.upper(), path.stem + SIDECAR, path.stem + SIDECAR.upper()):
        place = path.with_name(name)
        if place != path and place.is_file() and place.stat().st_size <= MOST_SIDECAR:
            return place
    return None


def carried_sidecar(place: Path, source: Path, item: Item, spec: Spec, scale: int) -> tuple[bytes, list[str]]:
    """Return a sidecar's bytes for the result of `item`, with what is about pixels brought to it, and notes. Raises OSError."""
    packet = place.read_bytes()
    if item.kind != "image":
        return packet, []
    try:
        picture = read_picture(source, item.name)
        target = choose_for(picture, item.result, spec, scale)
        geometry = Geometry(picture.orientation, stored_size(picture), (target.width, target.height))
        return moved(packet, geometry)
    except (BadInput, ValueError):
        return packet, ["its XMP sidecar was carried as it is: what it says of pixels was not changed"]


def clashes(names: Sequence[str]) -> list[str]:
    """Return notes on results whose names are one where case or the form of Unicode is ignored, as on Windows, macOS and SMB shares."""
    seen: dict[str, str] = {}
    notes = []
    for name in sorted(names):
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFKD", name).casefold())
        first = seen.setdefault(key, name)
        if first != name:
            notes.append(
                f"{first!r} and {name!r} are one name where case or the form of Unicode is ignored (Windows, macOS, SMB)"
            )
    return notes


def stray(places: Iterable[Path], used: Mapping[Path, object]) -> list[str]:
    """Return notes on sidecars that belong to no source."""
    return [Loss(f"{place} is an XMP sidecar of no source and was left out") for place in places if place not in used]
