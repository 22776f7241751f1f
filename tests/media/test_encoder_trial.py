"""A trial of an encoder in a process of its own: its headers, or why it cannot encode; a driver that crashes or hangs ends no other process."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from pathlib import Path

import av
import msgspec
import psutil
import pytest

from contract.film import CHUNK_FORMAT
from contract.job import Codec
from media import encoder_trial, nvenc
from media.encoder_trial import small, tried, try_encoder
from media.film_encoder import add_encoder
from testkit.processes import until

LACKING = [codec for codec in nvenc.ENCODERS if tried(small(codec)).problem]


@pytest.mark.parametrize("codec", ["x264", "x265", "svtav1"])
def test_headers_are_those_of_the_films_chunks(codec: Codec) -> None:
    """The SHA-256 is that of the headers which the same encoding has here, and another encoding has another."""
    encoding = small(codec)
    with av.open(io.BytesIO(), "w", format=CHUNK_FORMAT) as container:
        headers = add_encoder(container, encoding).codec_context.extradata
    assert headers
    assert try_encoder(encoding).headers == hashlib.sha256(headers).hexdigest()
    assert try_encoder(msgspec.structs.replace(encoding, width=320)).headers not in (
        "",
        hashlib.sha256(headers).hexdigest(),
    )


def test_what_goes_wrong_is_said_in_the_encoders_words() -> None:
    """x264 is asked for a preset that it does not know."""
    encoding = msgspec.structs.replace(small("x264"), options={"preset": "p9"})
    assert try_encoder(encoding).headers == ""
    assert "p9" in try_encoder(encoding).problem


@pytest.mark.parametrize(
    ("script", "limit", "said"),
    [
        ("kill -SEGV $$", encoder_trial.TRIAL_S, "ended with -11"),
        ("exec tail -f /dev/null", 1.0, "did not end within 1 s"),
    ],
)
def test_a_driver_that_crashes_or_hangs_is_a_problem(
    script: str, limit: float, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that asks goes on, and says what happened."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(encoder_trial, "TRIAL_S", limit)
    assert said in try_encoder(small("h264_nvenc")).problem


def test_a_trial_ends_with_its_parent(tmp_path: Path) -> None:
    """A driver that hangs in the trial of a process that is killed leaves no process behind."""
    pid, program = tmp_path / "pid", tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho $$ > {pid}.new\nmv {pid}.new {pid}\nexec tail -f /dev/null\n")
    program.chmod(0o755)
    ask = (
        "import os, sys; from media.encoder_trial import small, try_encoder; from stores.processes import death_signal; "
        f"sys.executable = {str(program)!r}; try_encoder(small('x264'), death_signal(os.getpid()))"
    )
    with subprocess.Popen([sys.executable, "-c", ask]) as parent:
        try:
            until(pid.exists, "the trial", 60.0)
        finally:
            parent.kill()
    trial = int(pid.read_text())
    until(lambda: not alive(trial), "the end of the trial", 60.0)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("codec", LACKING or [pytest.param("", marks=pytest.mark.skip(reason="the card here has all"))])
def test_a_missing_card_is_named(codec: Codec) -> None:
    """FFmpeg's words follow what they mean."""
    problem = try_encoder(small(codec)).problem
    assert problem.partition(" (")[0] in nvenc._MEANT.values()


def test_what_is_not_known_is_passed_on() -> None:
    """The words of a driver that nobody has met before stay as they are."""
    assert nvenc.explained("OpenEncodeSessionEx failed: 42") == "OpenEncodeSessionEx failed: 42"
    assert nvenc.explained("10 bit encode not supported; No capable devices found").startswith("no card here has this")
