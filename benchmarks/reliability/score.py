"""Scores of the page's rows, and how an outcome is judged."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from testkit.cluster import Rig, differences, undisturbed


@dataclass
class Score:
    """Result of a scenario: `trials` faults, of which `right` ended with the undisturbed frames."""

    fault: str
    trials: int = 0
    right: int = 0
    wrong_frames: int = 0
    recoveries: list[float] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def worst(self) -> float:
        """The 99th percentile of the recoveries, in seconds."""
        return sorted(self.recoveries)[max(0, int(len(self.recoveries) * 0.99 + 0.5) - 1)]

    def row(self) -> str:
        """Format the row of the page."""
        times = f"{statistics.median(self.recoveries):.1f} / {self.worst:.1f}" if self.recoveries else "-"
        said = "; ".join(self.remarks)
        return f"| {self.fault} | {self.trials} | {self.right} | {self.wrong_frames} | {times} | {said} |"

    def judge(self, r: Rig, job: str, film: Path, place: Path, trials: int, seconds: float = 300) -> bool:
        """Wait for the end of a job that had `trials` faults, and count what is wrong; return True when nothing is."""
        return self.judge_films(r, job, [film], place, trials, seconds)

    def judge_films(
        self, r: Rig, job: str, films: Sequence[Path], place: Path, trials: int, seconds: float = 300
    ) -> bool:
        """Judge a job of several films, each of which must have its own frames."""
        manifest = r.finish(job, seconds)
        wrong = -1
        if manifest.state == "done":
            found = r.results(job, place)
            wrong = sum(differences(undisturbed(film), found.get(film.stem, ())) for film in films)
        self.trials += trials
        self.wrong_frames += max(0, wrong)
        strays = r.strays(job)
        if wrong == 0 and not strays:
            self.right += trials
            return True
        self.remarks.append(f"{job} {manifest.state}, {wrong} frames differ, strays {strays}")
        return False

    def stuck(self, error: TimeoutError) -> None:
        """Count a trial that did not come to its end."""
        self.trials += 1
        self.remarks.append(f"stuck: {error}")


@contextmanager
def folder() -> Iterator[Path]:
    """Yield a folder with a short path, since sockets are created below it."""
    with tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def batches(count: int, size: int) -> Iterator[int]:
    """Split `count` into parts of at most `size`: a process that ends five times within 20 s is not restarted."""
    while count > 0:
        yield min(count, size)
        count -= size
