"""One film, one encoder: the first worker's card decides on the headers, and workers that write none or others leave the chunks alone.

No card is needed: encoders on cores stand in for those of cards, under their names and in the same trials.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import pytest

from contract import keys
from contract.documents import decode, encode
from contract.encoder_headers import EncoderHeaders, encoding_sha256
from contract.errors import CannotServe
from contract.film import Encoding
from contract.job import Codec, Spec
from contract.settings import Settings
from media import codecs, nvenc
from media.encoder_trial import small, tried
from testkit.natural_clips import make_moving
from testkit.stepped import Stepped, stepped
from workers.film.encode import ChunkEncoder

without_card = pytest.mark.skipif(not tried(small("h264_nvenc")).problem, reason="the card here has an encoder")
_NUMBERS = itertools.count(1)
STAND_INS: dict[Codec, dict[str, str]] = {
    "h264_nvenc": {"crf": "30", "preset": "ultrafast", "x264-params": "open-gop=0"},
    "hevc_nvenc": {"crf": "30", "preset": "ultrafast", "x265-params": "open-gop=0:info=0:log-level=none"},
    "av1_nvenc": {"crf": "40", "preset": "12"},
}


@pytest.fixture
def cluster(settings: Settings) -> Iterator[Stepped]:
    with stepped(replace(settings, threads=1)) as made:
        yield made


@pytest.fixture
def submitted(cluster: Stepped, tmp_path: Path) -> Iterator[Callable[[Codec], str]]:
    """Submit a film of three chunks for the encoder of a card; what a test leaves of its job would hold up the next one's."""
    jobs = []

    def submit(codec: Codec) -> str:
        film = make_moving(tmp_path / "film.mp4", 6, (160, 146))
        # A job of its own: the same film with the same options would be an earlier test's.
        spec = Spec("identity", codec=codec, container="mkv", chunk_frames=2, salvage=next(_NUMBERS))
        jobs.append(cluster.submit([film], spec))
        while not cluster.announced(jobs[-1]):
            cluster.look()
        return jobs[-1]

    yield submit
    for job in jobs:
        if cluster.records.manifest(job) is None:
            cluster.jobs.control(job, cancelled=True)
            while cluster.ledger.counts(job) is not None:
                cluster.look()


def stand_in(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let plans of `codec` name the encoder on cores of the same format."""
    name = codecs.ENCODERS[nvenc.ENCODERS[codec].instead].name
    monkeypatch.setitem(codecs.ENCODERS, codec, dataclasses.replace(codecs.ENCODERS[codec], name=name))
    monkeypatch.setattr(nvenc, "options", lambda *_: dict(STAND_INS[codec]))


def pinned(cluster: Stepped, job: str) -> tuple[str, Encoding]:
    """The key of the job's headers, and its film's encoding."""
    plan = cluster.records.plan(job)
    assert plan is not None
    encoding = cluster.worker.cache.encoders._encoding(job, plan.chunks[0])
    return keys.encoder_headers(job, encoding_sha256(encoding)), encoding


@pytest.mark.parametrize("codec", list(nvenc.ENCODERS))
def test_chunks_join_and_the_first_worker_decides(
    codec: Codec, cluster: Stepped, submitted: Callable[[Codec], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job's headers are those of its first worker; the film of all chunks plays whole, in the card's format."""
    stand_in(codec, monkeypatch)
    job = submitted(codec)
    cluster.finish(job)
    key, encoding = pinned(cluster, job)
    found = decode(cluster.storage.get(key), EncoderHeaders, key)
    assert found == EncoderHeaders(tried(encoding).headers, os.uname().nodename)
    manifest = cluster.records.manifest(job)
    assert manifest is not None
    assert manifest.state == "done", manifest.failures
    plan = cluster.records.plan(job)
    assert plan is not None
    attempts = [done.attempt for done in cluster.records.dones(plan, range(len(plan.chunks)))]
    assert all(attempt.startswith("1-") for attempt in attempts), attempts  # no chunk was handed back
    cluster.storage.get_file(manifest.files[0].key, tmp_path / "result.mkv")
    with av.open(str(tmp_path / "result.mkv"), "r") as film:
        assert film.streams.video[0].codec_context.codec.canonical_name == codec.partition("_")[0]
        assert sum(1 for _ in film.decode(video=0)) == 6


def test_other_headers_are_declined_before_any_work(
    cluster: Stepped, submitted: Callable[[Codec], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that another card began: the chunk goes back uncounted, the worker leaves the job, and the status says why and what to do."""
    stand_in("h264_nvenc", monkeypatch)
    job = submitted("h264_nvenc")
    key, _ = pinned(cluster, job)
    cluster.storage.put(key, encode(EncoderHeaders("0" * 64, "elsewhere")), if_absent=True)
    (chunk, *_) = cluster.announced(job)
    assert cluster.worker.work(job, chunk) == "handed back"
    assert cluster.worker.work(job, chunk) == "declined"
    assert cluster.ledger.tries(job, chunk) == 0
    cluster.ledger.announce_worker(cluster.worker.name, cluster.worker._info())
    blocked = cluster.jobs.status(job).blocked
    assert "writes other headers than on elsewhere, where the film was begun; use workers with one kind" in blocked
    assert blocked.endswith("or cancel the job and submit it with another --codec or --precision.")


@without_card
def test_a_worker_without_a_card_declines(cluster: Stepped, submitted: Callable[[Codec], str]) -> None:
    """Nothing is counted, computed or decided for others, and its heartbeat says that it has no such encoder."""
    job = submitted("h264_nvenc")
    (chunk, *_) = cluster.announced(job)
    assert cluster.worker.work(job, chunk) == "handed back"
    assert cluster.worker.work(job, chunk) == "declined"
    assert cluster.ledger.tries(job, chunk) == 0
    assert not cluster.storage.exists(pinned(cluster, job)[0])
    assert not cluster.storage.exists(keys.method(job))
    cluster.worker.cache.encoders._look()
    info = cluster.worker._info()
    assert info["encoders"] == []
    cluster.ledger.announce_worker(cluster.worker.name, info)
    assert "h264_nvenc cannot be used on" in cluster.jobs.status(job).blocked


@without_card
def test_an_encoder_that_does_not_open_is_no_fault_of_the_chunk(tmp_path: Path) -> None:
    """It was tried before, so that the card is busy: another worker, or this one later, may open it."""
    with (
        pytest.raises(CannotServe, match="av1_nvenc could not be opened"),
        ChunkEncoder(tmp_path / "x", small("av1_nvenc")),
    ):
        pass
