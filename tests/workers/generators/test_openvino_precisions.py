"""OpenVINO is asked once what a processor can do, for each version of it and each set of the processor's features."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.generators import openvino_backend, openvino_precisions
from workers.generators.openvino_precisions import kept_precisions


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Calls of OpenVINO, which says something else each time, on a processor that a file describes."""
    calls: list[int] = []

    def precisions() -> tuple[str, ...]:
        calls.append(len(calls))
        return ("bf16", "fp32")[len(calls) % 2 :]

    monkeypatch.setattr(openvino_backend, "precisions", precisions)
    (tmp_path / "cpuinfo").write_text("processor: 0\nmodel name: A\nflags: avx2\nMHz: 1\n\nprocessor: 1\n")
    monkeypatch.setattr(openvino_precisions, "_PROCESSOR", tmp_path / "cpuinfo")
    return calls


def test_the_answer_is_kept(asked: list[int], tmp_path: Path) -> None:
    """A second process gets the first one's answer, also when the processor's clock has changed."""
    first = kept_precisions(tmp_path)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(cpuinfo.read_text().replace("MHz: 1", "MHz: 2"))
    assert kept_precisions(tmp_path) == first == ("fp32",)
    assert len(asked) == 1


def test_other_features_are_another_question(asked: list[int], tmp_path: Path) -> None:
    """The same processor, of which the system shows more: its answer is not that of before."""
    kept_precisions(tmp_path)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(cpuinfo.read_text().replace("avx2", "avx2 avx512_bf16"))
    assert kept_precisions(tmp_path) == ("bf16", "fp32")
    assert len(asked) == 2


def test_a_damaged_or_unknown_one_is_asked_again(asked: list[int], tmp_path: Path) -> None:
    """A file that is no list of names, and a system that does not describe its processor, lead to OpenVINO itself."""
    kept_precisions(tmp_path)
    (kept,) = (tmp_path / "probes").iterdir()
    kept.write_bytes(b'["bf16"')
    kept_precisions(tmp_path)
    (tmp_path / "cpuinfo").unlink()
    for _ in range(2):
        kept_precisions(tmp_path)
    assert len(asked) == 4
    assert len(list((tmp_path / "probes").iterdir())) == 1
