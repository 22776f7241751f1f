"""Images and megapixels: what the status says of a job's pictures."""

from __future__ import annotations

from contract.job import Chunk, Control, Item, Job, Plan, Spec
from contract.settings import Settings
from orchestrator.cli.display import describe
from orchestrator.jobs.status import ChunkProgress, ImageProgress, JobStatus, Progress, image_progress
from stores.ledger import Ledger


def item(n: int, pixels: int) -> Item:
    return Item(n, "image" if pixels else "video", f"{n}", f"{n}", f"{n:064x}", 1, pixels)


JOB = Job(
    "0123456789abcdef",
    Spec(model="lanczos"),
    (item(0, 1_000_000), item(1, 2_000_000), item(2, 0), item(3, 400_000_000), item(4, 5_000_000)),
    "2026-01-02T03:04:05+00:00",
)
PLAN = Plan(
    JOB.id,
    (
        Chunk(0, "image", 0, 0, 2, "a group"),
        Chunk(1, "video", 2, 0, 40, "a film"),
        Chunk(2, "image", 3, 3, 1, "a band", 0, 2),
        Chunk(3, "image", 3, 3, 1, "the other", 1, 2),
    ),
    duplicates=((4, 0),),
)


def test_images_and_pixels_are_counted_by_chunk() -> None:
    """A large image is half done with one of its two bands, and done with both; films and duplicates do not count."""
    assert image_progress(JOB, PLAN, {0, 1, 2}.__contains__) == ImageProgress(3, 2, 403.0, 203.0)
    assert image_progress(JOB, PLAN, {2, 3}.__contains__) == ImageProgress(3, 1, 403.0, 400.0)
    assert image_progress(JOB, Plan(JOB.id, PLAN.chunks[1:2]), lambda _: True) is None


def test_the_ledger_tells_which_chunks_are_done(settings: Settings) -> None:
    """Its bitmap comes as bytes, whatever they spell as text; a job that it does not know gives none."""
    ledger = Ledger(settings)
    chunks = tuple(Chunk(n, "image", 0, 0, 1, f"{n}") for n in range(20))
    ledger.create(Plan(JOB.id, chunks), 4, control=Control(), done={0: 1, 1: 1, 9: 1, 19: 1}, failed=[])
    assert ledger.done(JOB.id) == bytes([0b11000000, 0b01000000, 0b00010000])
    assert ledger.done("f" * 16) == b""


def test_speed_is_said_in_what_the_job_is_made_of() -> None:
    """Films in frames; images alone in megapixels, also where a large one is done in bands."""

    def status(films: int, images: ImageProgress | None) -> str:
        chunks, frames = ChunkProgress(4, 1, 0, 1), Progress(4, 1)
        return describe(
            JobStatus("0" * 16, "running", "n", "", 1, chunks, frames, 0.5, 6.0, 1, 0, 0, films=films, images=images)
        )

    assert status(1, None) == "1/4 frames, 2.0 s a frame, 0:06 left, 1 worker"
    assert (
        status(0, ImageProgress(1, 0, 100.0, 25.0))
        == "0/1 images, 25.0/100.0 megapixels, 12.50 megapixels/s, 0:06 left, 1 worker"
    )
    assert "2.0 s a frame" in status(1, ImageProgress(1, 0, 100.0, 25.0))
