"""The race of backends and precisions: the fastest that is safe wins, and is remembered."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest
import torch

from contract.settings import Settings
from contract.verdict import Subject, Verdict
from workers.generators import backend_race
from workers.generators.backend_race import Candidate
from workers.generators.lanczos import architecture as plain

SUBJECT = Subject("m", "srvgg", {"num_conv": 16}, "a processor", 2)


class Fake:
    """A network of given backend and precision whose result is off by `error`."""

    device = torch.device("cpu")

    def __init__(self, backend: str, precision: str, error: float) -> None:
        self.backend = backend
        self.precision = precision
        self.error = error

    def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
        return rgb + self.error


def race(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seconds: dict[str, float], error: float = 0.0
) -> tuple[str, str]:
    """Run the race for candidates that take `seconds`; return precision and reason of the winner."""
    monkeypatch.setattr(backend_race, "_lap", lambda network, *_: seconds[network.precision])
    candidates = [
        Candidate("openvino", p, plain(2), lambda p=p: Fake("openvino", p, error if p == "bf16" else 0.0))
        for p in seconds
    ]
    key = backend_race.cache_key(*candidates)
    _, network, reason = backend_race.choose(candidates, SUBJECT, key, Settings(cache=tmp_path))
    return network.precision, reason


def test_the_fastest_wins_and_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The fastest candidate is chosen, with the measured times as the reason; the next worker need not measure."""
    precision, reason = race(monkeypatch, tmp_path, {"bf16": 0.010, "fp32": 0.025})
    assert precision == "bf16"
    assert "bf16 10 ms" in reason
    assert "fp32 25 ms" in reason
    precision, reason = race(monkeypatch, tmp_path, {"bf16": 9.0, "fp32": 0.025})
    assert precision == "bf16"
    assert reason.endswith("(measured before)")


def test_another_version_of_respool_runs_its_own_race(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An upgrade may bring other kernels, so what an older version measured says nothing; its outcome stays its own."""
    race(monkeypatch, tmp_path, {"bf16": 0.010, "fp32": 0.025})
    with monkeypatch.context() as upgraded:
        upgraded.setattr(backend_race, "version", lambda package: f"{version(package)}.1")
        precision, reason = race(monkeypatch, tmp_path, {"bf16": 0.030, "fp32": 0.025})
        assert precision == "fp32"
        assert "measured before" not in reason
    assert race(monkeypatch, tmp_path, {"bf16": 0.030, "fp32": 0.025})[0] == "bf16"


@pytest.mark.parametrize("error", [0.01, float("nan"), float("inf")])
def test_a_faster_precision_must_be_safe(error: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A faster precision with a PSNR below 50 dB against fp32, or with a broken result, is not chosen."""
    precision, reason = race(monkeypatch, tmp_path, {"bf16": 0.010, "fp32": 0.025}, error=error)
    assert precision == "fp32"
    assert "left out" in reason


def test_a_candidate_without_memory_is_left_out(tmp_path: Path) -> None:
    """A candidate that does not fit loses the race; the error names the memory when none fits."""

    class Large(Fake):
        def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
            raise MemoryError

    small, large = (lambda: Fake("torch", "fp16", 0.0)), (lambda: Large("torch", "fp32", 0.0))
    candidates = [Candidate("torch", "fp16", plain(2), small), Candidate("torch", "fp32", plain(2), large)]
    _, network, reason = backend_race.choose(candidates, SUBJECT, "key", Settings(cache=tmp_path))
    assert network.precision == "fp16"
    assert "torch fp32 left out, too little memory" in reason
    fits = [candidates[0], replace(candidates[1], make=lambda: Fake("torch", "fp32", 0.5))]
    _, network, reason = backend_race.choose(fits, SUBJECT, "key", Settings(cache=tmp_path))
    assert network.precision == "fp32", "the verdict of a moment without memory is not kept"
    assert "torch fp16 left out, PSNR" in reason
    with pytest.raises(MemoryError, match="fits into the memory"):
        backend_race.choose([replace(c, make=large) for c in candidates], SUBJECT, "other", Settings(cache=tmp_path))


def test_a_damaged_verdict_is_measured_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A stored outcome that cannot be read is measured again."""
    race(monkeypatch, tmp_path, {"bf16": 0.010, "fp32": 0.025})
    (kept,) = (tmp_path / "probes").glob("*.json")
    kept.write_text("{")
    assert race(monkeypatch, tmp_path, {"bf16": 0.030, "fp32": 0.025})[0] == "fp32"


def test_a_verdict_tells_the_time_of_the_winner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The subject of the race, the pixels of the probe and the winner's seconds are kept; a verdict without them is measured again."""
    race(monkeypatch, tmp_path, {"bf16": 0.010, "fp32": 0.025})
    (kept,) = (tmp_path / "probes").glob("*.json")
    verdict = msgspec.json.decode(kept.read_bytes(), type=Verdict)
    assert (verdict.subject, verdict.precision, verdict.seconds) == (SUBJECT, "bf16", 0.010)
    assert verdict.version == version("respool")
    assert f"fastest on a {verdict.pixels**0.5:.0f}x{verdict.pixels**0.5:.0f} probe" in verdict.reason
    kept.write_text('{"backend": "openvino", "precision": "fp32", "reason": "fastest", "lasting": true}')
    assert race(monkeypatch, tmp_path, {"bf16": 0.010, "fp32": 0.025})[0] == "bf16"
    assert msgspec.json.decode(kept.read_bytes(), type=Verdict) == verdict


def test_a_network_that_gets_faster_is_timed_late(tmp_path: Path) -> None:
    """A candidate runs as often as it says before it is timed, and those of a card get more work."""
    sizes: list[int] = []

    class Counted(Fake):
        def __call__(self, rgb: torch.Tensor) -> torch.Tensor:
            sizes.append(rgb.shape[-1])
            return super().__call__(rgb)

    network = Counted("torch", "fp16", 0.0)
    described = replace(plain(2), flops=1e8)
    pair = [
        Candidate("torch", "fp16", described, lambda: network, backend_race.CARD_WORK, 7),
        Candidate("torch", "fp32", described, lambda: Fake("torch", "fp32", 0.0), backend_race.CARD_WORK),
    ]
    backend_race.choose(pair, SUBJECT, "key", Settings(cache=tmp_path))
    assert len(sizes) >= 9, "once for the comparison, seven times before the first lap"
    assert set(sizes) == {192}, "4e12 operations at 1e8 a pixel are 200 by 200 pixels"
