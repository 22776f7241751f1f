"""Sequence headers of MPEG-1, MPEG-2, MPEG-4 and AV1, as they stand at any packet of a stream.

Syntax: ITU-T H.262 6.2, ISO/IEC 14496-2 6.2, AV1 bitstream specification 5.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_USERS = 16
"""User data units kept of one stream, the newest."""
MAX_CODES = 64
"""Start codes that a packet's head is searched for."""


@dataclass
class StartCodeHeaders:
    """Headers between start codes.

    Everything from one of `begins` to one of `ends` is one block. A new block with one of `core` in it replaces the
    block before.
    """

    begins: frozenset[int]
    ends: frozenset[int]
    core: frozenset[int]
    matrices: bool = False
    """Quantisation matrices may follow in a picture's own header (MPEG-2)."""
    remembers: bool = False
    """User data outlive their block: MPEG-4's name the encoder, whose faults a decoder works around from there on."""
    _known: bytes = b""
    _block: bytes = b""
    _users: dict[bytes, None] = field(default_factory=dict)
    _matrix: bytes = b""

    def extradata(self, data: bytes) -> None:
        """Follow headers that come beside the packets."""
        if not self._known and not self._block:  # decoders of these codecs read it once
            self._known, _ = self._parts(data)

    def see(self, data: bytes) -> None:
        """Follow the headers inside a packet."""
        block, matrix = self._parts(data)
        if self._complete(block):
            self._block, self._matrix = block, b""
        if self.remembers and block:
            for unit in user_data(block):
                self._users.pop(unit, None)
                self._users[unit] = None
            while len(self._users) > MAX_USERS:
                del self._users[next(iter(self._users))]
        self._matrix = matrix or self._matrix

    def opened(self, data: bytes) -> bytes:
        """Return `data` behind the headers that a decoder which starts here lacks."""
        own, _ = self._parts(data)
        given = own + self._known
        block, matrix = self._block, self._matrix
        if self._complete(own):
            block = matrix = b""
        elif block == self._known:
            block = b""
        users = [unit for unit in self._users if unit not in given and unit not in block]
        return b"".join(users) + block + matrix + data

    def _complete(self, block: bytes) -> bool:
        return any(code in self.core for _, code in start_codes(block))

    def _parts(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the header block of a packet, and the matrices of its pictures."""
        first = after = -1
        matrix = b""
        for at, code in start_codes(data):
            if after < 0 and code in self.begins:
                first = at if first < 0 else first
            elif after < 0 and code in self.ends:
                after = at
                if not self.matrices:
                    break
            elif code == 0xB5 and data[at + 4] >> 4 == 3 and after >= 0:
                matrix = data[at : _next_code(data, at)]
            elif after >= 0 and 0 < code < 0xB0:
                break
        return b"" if first < 0 else data[first : after if after >= 0 else len(data)], matrix


def _next_code(data: bytes, at: int) -> int:
    found = data.find(b"\0\0\1", at + 4)
    return found if found >= 0 else len(data)


def user_data(block: bytes) -> Iterator[bytes]:
    """Yield the user data units of a header block, with their start codes."""
    for at, code in start_codes(block):
        if code == 0xB2:
            yield block[at : _next_code(block, at)]


def start_codes(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (offset, code) of the start codes at the head of a packet."""
    at = -1
    for _ in range(MAX_CODES):
        at = data.find(b"\0\0\1", at + 1)
        if at < 0 or at + 4 >= len(data):
            return
        yield at, data[at + 3]


@dataclass
class ObuHeaders:
    """The sequence header of AV1."""

    _known: bytes = b""
    _active: bytes = b""

    def extradata(self, data: bytes) -> None:
        """Follow headers that come beside the packets."""
        if not self._active:  # the decoder reads it once
            self._known = self._active = self._sequence(data[4:] if data[:1] == b"\x81" else data)

    def see(self, data: bytes) -> None:
        """Follow the headers inside a packet."""
        self._active = self._sequence(data) or self._active

    def opened(self, data: bytes) -> bytes:
        """Return `data` behind the headers that a decoder which starts here lacks."""
        if self._active == self._known or self._sequence(data):
            return data
        after = next((stop for kind, _, stop in obus(data) if kind == 2), 0)  # a temporal delimiter stays in front
        return data[:after] + self._active + data[after:]

    @staticmethod
    def _sequence(data: bytes) -> bytes:
        return next((bytes(data[start:stop]) for kind, start, stop in obus(data) if kind == 1), b"")


def obus(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (type, start, stop) of the OBUs before the first frame of a packet."""
    at = 0
    while at < len(data):
        head = data[at]
        kind = head >> 3 & 15
        if kind in (3, 6) or not head & 2:  # frames, or an OBU without a size, which is the last
            return
        start, shift, size = at, 0, 0
        at += 2 if head & 4 else 1
        while at < len(data) and shift < 56:
            size |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if not data[at - 1] & 128:
                break
        at += size
        yield kind, start, min(at, len(data))
