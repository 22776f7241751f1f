"""The finding of `respool doctor` about the encoders of NVIDIA cards."""

from __future__ import annotations

import pytest

from media.encoder_trial import Trial, small, tried
from orchestrator.doctor import machine_checks


@pytest.mark.skipif(not tried(small("h264_nvenc")).problem, reason="the card here has an encoder")
def test_a_machine_without_a_card_is_told_what_it_cannot_use() -> None:
    """That is no fault: only those codecs need a card."""
    found = machine_checks._nvenc()
    assert (found.what, found.verdict) == ("nvenc", "ok")
    assert found.detail.startswith("none: no ")
    assert found.detail.endswith("; --codec h264_nvenc, hevc_nvenc, av1_nvenc cannot be used here, others can")


def test_a_card_without_av1_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards before Ada encode H.264 and HEVC; the reason stands beside the codec that is missing."""
    answers = {
        "h264_nvenc": Trial("0" * 64),
        "hevc_nvenc": Trial("0" * 64),
        "av1_nvenc": Trial(problem="Codec not supported"),
    }
    monkeypatch.setattr(machine_checks, "try_encoder", lambda encoding, die: answers[encoding.codec])
    found = machine_checks._nvenc()
    assert found.detail == "h264_nvenc, hevc_nvenc encode; av1_nvenc cannot be used (Codec not supported)"
    answers["hevc_nvenc"] = answers["av1_nvenc"]
    assert machine_checks._nvenc().detail.startswith("h264_nvenc encodes; hevc_nvenc cannot")
