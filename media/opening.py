"""Opening of untrusted media: one file, a known demuxer, and nothing that the file points to.

A "film.mp4" may be a playlist in disguise, or a container that refers to other files or hosts. FFmpeg reads the bytes
through a file object without a name, may not open anything else, and is limited to demuxers that read one self-contained
stream. Every failure is one sentence.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import BinaryIO, NoReturn

import av
import av.error
import av.logging
from av.container import InputContainer

from contract.errors import BadInput, Unsupported
from media.disc_sectors import without_sectors

DEMUXERS = (
    "mov", "matroska", "mpegts", "mpeg", "mpegvideo", "avi", "dv", "h264", "hevc", "vvc", "m4v", "mjpeg", "obu", "av1",
    "ivf", "flv", "asf", "ogg", "mxf", "nut", "gxf", "rm", "yuv4mpegpipe", "vc1", "h263", "h261", "cavsvideo", "dirac",
    "wtv", "gif", "apng",
)  # fmt: skip
MAX_STREAMS = 100
"""Streams of a file. Discs and broadcasts have a few dozen at most; a file with thousands is made to exhaust memory."""
OPEN_TIMEOUT_S = 30.0
PROBE_BYTES = 16 << 20
"""Bytes in which FFmpeg looks for streams: more than its default of 5 MB, for transport streams with late audio."""


class _Nameless:
    """Read-only file without a name, by which FFmpeg would guess formats or find other files."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._file.seek(0)

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):  # a broken index points to before the beginning; PyAV would raise it much later
            return -errno.EINVAL

    def tell(self) -> int:
        return self._file.tell()


def _refuse(url: str, flags: int, options: dict[str, str]) -> NoReturn:  # noqa: ARG001 - PyAV's signature
    raise PermissionError(f"a medium may not open {url[:120]!r}")


@contextlib.contextmanager
def open_media(source: BinaryIO, what: str, demuxers: tuple[str, ...] = DEMUXERS) -> Iterator[InputContainer]:
    """Open `source` (seekable) for demuxing; `what` names it in errors.

    Raises BadInput when its format is unknown, Unsupported when it wants to read something else.
    """
    try:
        container = av.open(
            _Nameless(without_sectors(source)),
            mode="r",
            metadata_errors="replace",
            container_options={
                "format_whitelist": ",".join(demuxers),
                "protocol_whitelist": "none",
                "max_streams": str(MAX_STREAMS),
                "probesize": str(PROBE_BYTES),
            },
            io_open=_refuse,
            timeout=(OPEN_TIMEOUT_S, OPEN_TIMEOUT_S),
        )
    except PermissionError as error:
        raise Unsupported(f"{what} refers to other files or hosts ({error}); submit those themselves.") from error
    except av.error.ArgumentError as error:
        raise BadInput(
            f"{what} is in a format that is not read here (playlists, image sequences and exotic containers are "
            "refused); submit the film itself, as mp4, mov, mkv, ts, mpg, avi, webm, dv, mxf or a raw stream."
        ) from error
    except (av.error.FFmpegError, ValueError, OverflowError, MemoryError) as error:
        raise BadInput(f"{what} cannot be opened as a film ({reason(error)}); check the file.") from error
    with container:
        try:
            yield container
        finally:
            _rest(container)


def _rest(container: InputContainer) -> None:
    """Wait for the decoders' threads to finish, without the interpreter's lock.

    Freeing a decoder waits for its threads with the lock held, while a thread that logs waits for the lock: a deadlock.
    """
    for stream in container.streams:
        context = getattr(stream, "codec_context", None)
        if context is not None and context.is_open:
            context.flush_buffers()


def reason(error: BaseException) -> str:
    """Return FFmpeg's words for `error`, without the errno and file name that PyAV adds."""
    if isinstance(error, av.error.BlockingIOError):  # EAGAIN, whose words are about something else
        return "nothing more in it can be recognised"
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


class DecoderLog:
    """Collector of FFmpeg's messages at the level of errors.

    Many damaged pictures are neither refused nor marked, and demuxers skip bytes that they cannot read: only messages tell.
    A context manager; `take` returns the new messages of one decoder or demuxer, whose `name` may be set later. With
    `threads`, messages from any thread are collected: a decoder with threads needs that, and a process may have only one
    such collector at a time. `level` is the lowest level that is collected.
    """

    def __init__(self, name: str, threads: bool = False, level: int = av.logging.ERROR) -> None:
        self.name = name
        self.awaited: frozenset[str] = frozenset()
        """Names whose messages `take_of` leaves to be taken later, when it takes another's."""
        self._heard = level
        self._capture = av.logging.Capture(local=not threads)

    def __enter__(self) -> DecoderLog:
        self._level = av.logging.get_level()
        self._repeated = av.logging.get_skip_repeated()
        av.logging.set_skip_repeated(False)
        av.logging.set_level(self._heard)
        self._messages: list[tuple[int, str, str]] = self._capture.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._capture.__exit__(None, None, None)
        av.logging.set_level(self._level)
        av.logging.set_skip_repeated(self._repeated)

    def take(self) -> list[str]:
        """Return the messages of `name` since the last call."""
        return [message for _, message in self.take_levels()]

    def take_levels(self) -> list[tuple[int, str]]:
        """Return the messages of `name` since the last call, each with its level."""
        if not self._messages:
            return []
        count = len(self._messages)  # other threads may add more meanwhile
        found = [(level, message.strip()) for level, name, message in self._messages[:count] if name == self.name]
        del self._messages[:count]
        return found

    def take_of(self, name: str) -> list[str]:
        """Return the new messages of `name`; leave those of others that are `awaited`, and forget the rest."""
        if not self._messages:
            return []
        count = len(self._messages)  # other threads may add more meanwhile
        new = self._messages[:count]
        self._messages[:count] = [m for m in new if m[1] != name and m[1] in self.awaited]
        return [message.strip() for _, other, message in new if other == name]
