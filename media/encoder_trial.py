"""A trial of a film's encoder in a process of its own: `python -m media.encoder_trial`, with an Encoding as JSON on its standard input.

The driver of a card may end the process that asks it, or never answer. The trial encodes one frame of zeros, and prints the SHA-256 of the
encoder's headers, or why it cannot encode.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from collections.abc import Callable

import av
import av.logging
import msgspec

from contract.film import CHUNK_FORMAT, Colour, Encoding
from contract.job import Codec, Spec
from contract.programs import Program, command_line
from media.codecs import ENCODERS, encoder_options
from media.film_encoder import add_encoder
from media.nvenc import explained
from media.opening import reason

TRIAL_S = 60.0
"""Seconds that a trial may take: a card that sleeps is awake within some seconds."""
_SIDE = 256
"""Pixels a side of the frame of `small`, above the least that any card takes."""
_SAID = 3
"""Messages of FFmpeg that are passed on, the last ones: the last alone may only say that no card is capable."""


class Trial(msgspec.Struct, frozen=True):
    """The outcome: the SHA-256 of the encoder's headers in hex, or the problem as words that end a sentence."""

    headers: str = ""
    problem: str = ""


def small(codec: Codec) -> Encoding:
    """Return an encoding that every machine with the codec's encoder can do."""
    options = encoder_options(codec, Spec("identity", codec=codec), "yuv420p")
    colour = Colour("bt709", False)
    return Encoding(codec, ENCODERS[codec].name, "yuv420p", _SIDE, _SIDE, (25, 1), options, colour)


def try_encoder(encoding: Encoding, die: Callable[[], None] | None = None) -> Trial:
    """Return what a trial of `encoding` on this machine found.

    `die` runs in the trial's process between fork and exec, so that it can ask to end with its parent. A trial that takes TRIAL_S is
    killed; the call then waits until the kernel has ended it, however long the driver keeps it.
    """
    try:
        done = subprocess.run(
            command_line(Program.ENCODER_TRIAL),
            input=msgspec.json.encode(encoding),
            capture_output=True,
            timeout=TRIAL_S,
            check=False,
            preexec_fn=die,
        )
    except subprocess.TimeoutExpired:
        return Trial(problem=f"a trial of it did not end within {TRIAL_S:g} s")
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        return msgspec.json.decode(lines[-1], type=Trial)
    last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
    return Trial(problem=f"a trial of it ended with {done.returncode} ({last[:200]})")


def tried(encoding: Encoding) -> Trial:
    """Encode a frame of zeros as `encoding` says, in this process."""
    av.logging.set_level(av.logging.WARNING)
    with av.logging.Capture() as said:
        try:
            with av.open(io.BytesIO(), "w", format=CHUNK_FORMAT) as container:
                stream = add_encoder(container, encoding)
                headers = hashlib.sha256(stream.codec_context.extradata or b"").hexdigest()
                container.mux([*stream.encode(_empty(stream.codec_context)), *stream.encode(None)])
        except av.FFmpegError as error:
            words = [message.strip().rstrip(".") for _, _, message in said]
            return Trial(problem=explained("; ".join(words[-_SAID:]) or reason(error)))
    return Trial(headers)


def _empty(context: av.VideoCodecContext) -> av.VideoFrame:
    assert context.pix_fmt is not None
    frame = av.VideoFrame(context.width, context.height, context.pix_fmt)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.pts = 0
    return frame


def main() -> None:
    """Try the encoding that standard input has, and print the outcome."""
    asked = sys.stdin.buffer.read()
    if not asked:
        sys.exit("usage: python -m media.encoder_trial, with an Encoding as JSON on its standard input")
    outcome = tried(msgspec.json.decode(asked, type=Encoding))
    print(msgspec.json.encode(outcome).decode())  # noqa: T201


if __name__ == "__main__":
    main()
