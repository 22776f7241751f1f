"""Mask films of real jobs: delivered beside results, committed with their chunks, and known to whatever checks a result."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from msgspec.structs import replace

from contract import keys
from contract.errors import StorageError, UsageError
from contract.job import Done, Item, Output, Spec
from contract.masks import FILLED, masks_of, results_of
from orchestrator.cli.main import call
from orchestrator.cli.output import Output as Place
from orchestrator.job_store import Records
from orchestrator.jobs.job_record import Trail
from orchestrator.mask_names import mask_name
from orchestrator.provenance.verify import verify
from orchestrator.result_record import Record, from_lines
from orchestrator.submission.film_options import mask_names
from orchestrator.submission.previous_results import standing
from stores.atomic_files import LONGEST
from testkit.film_damage import CLIPS, Amounts, damage
from testkit.filtered import write_film
from testkit.stepped import SPEC, Stepped

MASKED = replace(SPEC, dirt=True, masks=True, chunk_frames=8)
"""Each test makes a job of its own of it, by an option that changes no film."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a film of 16 frames with dirt."""
    clip = damage(CLIPS["pan"](16, 64, 96), Amounts(dust=2.0), seed=5)
    return write_film(tmp_path_factory.mktemp("film") / "film.mkv", clip.damaged)


def records_of(cluster: Stepped, job: str) -> list[Record]:
    """Read the records of a finished job."""
    return from_lines(cluster.storage.get(keys.records(job)))


def frames(path: Path) -> tuple[int, dict[str, str]]:
    """Return the number of a film's frames, and its tags."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0)), dict(container.metadata)


def test_a_mask_film_is_delivered_and_verified(cluster: Stepped, film: Path, tmp_path: Path) -> None:
    """It lies beside the result, says what its values mean, is in record, report and bag, and a changed one is found."""
    job = cluster.submit([film], replace(MASKED, salvage=1))
    manifest = cluster.finish(job)
    assert manifest.state == "done"
    assert [file.name for file in manifest.sidecars] == ["film.mkv.masks.mkv"]
    place = Place(tmp_path / "out.mkv", single=True, force=False)
    result, masks = cluster.jobs.fetch(job, place.place)
    assert (result.name, masks.name) == ("out.mkv", "out.mkv.masks.mkv")
    count, tags = frames(masks)
    assert count == frames(result)[0] == 16
    assert f"{FILLED['dirt']} filled by --dirt" in tags["COMMENT"]
    (record,) = records_of(cluster, job)
    assert len(record.chunks) > 1
    assert record.masks is not None
    assert record.masks.sha256 == manifest.sidecars[0].sha256
    assert record.details["witness"]["masks"]["streams"][0]["frames"] == 16
    page = Trail(cluster.settings).report(job, 1).decode()
    assert "film.mkv.masks.mkv" in page.split("Repairs over time</h2>")[1]
    known = Trail(cluster.settings).known
    assert [finding.fault for finding in verify(tmp_path, known)] == ["", ""]
    plan = lambda *_: pytest.fail("a mask film is not planned")  # noqa: E731
    (again,) = verify(masks, known, film, plan)
    assert (again.fault, again.how) == ("", "its record's SHA-256")
    assert again.decode is not None
    assert any("against its record" in words for words in again.decode.checked)
    bag = Trail(cluster.settings).bag(job, tmp_path / "bag")
    assert (bag / "data" / "film.mkv.masks.mkv").read_bytes() == masks.read_bytes()
    assert "film.mkv.masks.mkv" in (bag / "premis.xml").read_text(encoding="utf-8")
    assert [finding.fault for finding in verify(bag, known)] == ["", ""]
    masks.write_bytes(masks.read_bytes()[:-9])
    assert "was delivered" in verify(masks, known)[0].fault


def test_a_twin_gets_a_mask_film_of_its_own(cluster: Stepped, film: Path, tmp_path: Path) -> None:
    """Two sources of the same bytes are computed once, and each has a result with a mask film beside it."""
    folder = tmp_path / "films"
    folder.mkdir()
    for name in ("a.mkv", "b.mkv"):
        (folder / name).write_bytes(film.read_bytes())
    job = cluster.submit([folder], replace(MASKED, salvage=2))
    manifest = cluster.finish(job)
    assert sorted(file.name for file in manifest.sidecars) == ["a.mkv.masks.mkv", "b.mkv.masks.mkv"]
    assert len({file.sha256 for file in manifest.sidecars}) == 1
    assert all(record.masks is not None for record in records_of(cluster, job))


@pytest.mark.parametrize("place", [".masks", "done.json"])
def test_an_attempt_that_fails_stores_both_films_again(
    cluster: Stepped, film: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the store refused the mask film, or the commit, a later attempt stores both, and nothing of the first stays."""
    job = cluster.submit([film], replace(MASKED, salvage=3 + len(place)))
    whole, failed = cluster.worker.storage, list[str]()
    name = "put_file" if place == ".masks" else "put"
    real = getattr(whole, name)

    def once(key: str, *args: object, **kwargs: object) -> object:
        if key.endswith(place) and not failed:
            failed.append(key)
            raise StorageError("S3 answered 503.")
        return real(key, *args, **kwargs)

    monkeypatch.setattr(whole, name, once)
    assert cluster.finish(job).state == "done"
    assert failed
    plan = cluster.records.plan(job)
    assert plan is not None
    commits = list(cluster.records.dones(plan, range(len(plan.chunks))))
    named = {output.key for commit in commits for output in commit.outputs}
    stored = {key for key, _ in cluster.storage.list(keys.job_prefix(job) + "chunks/") if "/attempt-" in key}
    assert stored == named
    assert len(named) == 2 * len(plan.chunks)
    assert all(masks_of(commit).key == commit.outputs[0].key + ".masks" for commit in commits)


def test_a_changed_mask_film_in_the_store_is_never_delivered(cluster: Stepped, film: Path) -> None:
    """One whose bytes are not the committed ones fails the film, and one that is lost after the job's end is made again."""
    job = cluster.submit([film], replace(MASKED, salvage=20))
    while not cluster.work(job):
        cluster.look()
    while cluster.work(job):
        cluster.look()
    plan = cluster.records.plan(job)
    assert plan is not None
    masks = masks_of(cluster.records.done(job, plan.chunks[0]))
    cluster.storage.put(masks.key, b"x" * masks.size)
    assert cluster.finish(job).state == "failed"
    assert cluster.jobs.retry(job) == 1
    manifest = cluster.finish(job)
    assert manifest.state == "done"
    cluster.storage.delete(manifest.sidecars[0].key)
    cluster.jobs.retry(job)
    assert cluster.finish(job).sidecars[0].sha256 == manifest.sidecars[0].sha256


def test_an_earlier_result_counts_with_its_mask_film_alone(cluster: Stepped, film: Path, tmp_path: Path) -> None:
    """A repeated command makes a film again whose mask film is gone from OUT or has changed."""
    job = cluster.submit([film], replace(MASKED, salvage=21))
    cluster.finish(job)
    place = Place(tmp_path, single=False, force=False)
    _, masks = cluster.jobs.fetch(job, place.place)
    again = replace(cluster.records.job(job), id="0" * 16)
    records = Records(cluster.storage)
    assert standing(again, records, place.expected) == {0}
    content = masks.read_bytes()
    masks.write_bytes(content + b"x")
    assert standing(again, records, place.expected) == set()
    with pytest.raises(UsageError, match=r"masks\.mkv exists already"):
        place.approve(again.items, cluster.records.manifest(job), [], masks=True)
    masks.unlink()
    assert standing(again, records, place.expected) == set()


def test_a_mask_film_is_no_second_result() -> None:
    """The frames and pixels of a chunk's mask film are not counted as work."""
    outputs = tuple(Output(0, f"attempt{end}", "0" * 64, 5, 8, 96, 64) for end in ("", ".masks"))
    assert results_of(Done(0, "1-0", "w", 8, outputs)) == outputs[:1]
    images = tuple(Output(n, f"attempt/{n}", "0" * 64, 5, 1, 96, 64) for n in range(3))
    assert set(results_of(Done(0, "1-0", "w", 3, images))) == set(images)


def test_mask_films_have_names_of_their_own() -> None:
    """A name is cut where it would be too long, and one that another file of the job has is refused."""
    spec = Spec("identity", dirt=True, masks=True)
    items = [Item(n, "video", name, name, "0" * 64, 1) for n, name in enumerate(("a.mkv", "b.mkv", "c/a.mkv"))]
    assert mask_names(spec, items) == ["a.mkv.masks.mkv", "b.mkv.masks.mkv", "c/a.mkv.masks.mkv"]
    assert LONGEST - 1 <= len(mask_name("é" * 125 + ".mkv").encode()) <= LONGEST
    clash = [*items, Item(3, "video", "a.mkv.masks.mkv", "a.mkv.masks.mkv", "0" * 64, 1)]
    with pytest.raises(UsageError, match="would both be called"):
        mask_names(spec, clash)
    assert mask_names(replace(spec, masks=False), clash) == []


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["run", "film.mkv", "--masks"], "none is asked for; add one"),
        (["run", "film.mkv", "--masks", "--grain", "1"], "none is asked for; add one"),
        (["submit", "film.mkv", "--masks"], "none is asked for; add one"),
        (["estimate", "film.mkv", "--masks"], "none is asked for; add one"),
        (["probe", "film.mkv", "--masks"], "none is asked for; add one"),
        (["run", "film.mkv", "--job", "job.toml"], "none is asked for; add one"),
        (["preview", "film.mkv", "-o", "a.png", "--dirt", "--masks"], "--masks changes nothing in a preview"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_masks_of_nothing_are_refused(
    argv: list[str],
    said: str,
    film: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A --masks that could have no effect is refused in one sentence, with exit code 2."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mkv").write_bytes(film.read_bytes())
    (tmp_path / "job.toml").write_text("masks = true\n")
    assert call([*argv[:1], "--state", str(tmp_path / "state"), *argv[1:]]) == 2
    assert said in capsys.readouterr().err
