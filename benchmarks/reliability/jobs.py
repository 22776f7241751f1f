"""Faults of whole jobs: doubled messages, a killed producer, chunks that always fail or hang."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.reliability import observations
from benchmarks.reliability.score import Score, folder
from contract.programs import Program, command_line
from testkit.clips import make_film
from testkit.cluster import Rig, rig
from testkit.faulty_s3 import Proxy


def doubled(count: int, seed: int) -> Score:
    """Send every message of a job twice; each chunk sleeps half a second, which is short for a chunk."""
    score, computed, surplus, cost, whole = Score("every message delivered twice"), 0, 0, 0.0, 0.0
    for n in range(count):
        with folder() as place:
            film = make_film(place / "film.mp4", 300, seed=seed + n)
            with rig(place, workers=3, fault="twice-0.5") as r:
                job = r.submit(film)
                score.judge(r, job, film, place, 1)
                more, extra, seconds, all_seconds = observations.surplus(place)
                computed, surplus, cost, whole = computed + more, surplus + extra, cost + seconds, whole + all_seconds
    score.remarks.append(
        f"{surplus} messages too many cost {cost:.2f} s of {whole:.0f} s at work: {100 * cost / whole:.2f}% extra; "
        f"{computed} chunks computed twice"
    )
    return score


def producer(count: int, seed: int) -> Score:
    """Kill `respool submit` of a film and 40 pictures over a slow link at a random moment, then repeat the command."""
    score, rng = Score("producer killed in the middle of a submission, the same command again"), random.Random(seed)
    half = 0
    with folder() as place, rig(place, workers=1) as r, Proxy(r.settings.s3_endpoint, seed, delay_s=0.3) as proxy:
        environment = {**os.environ, **r.settings.environment(), "RESPOOL_S3_ENDPOINT": proxy.url}
        for n in range(count):
            sources = place / f"sources-{n}"
            sources.mkdir()
            film = make_film(sources / "film.mp4", 25, seed=seed + n)
            pictures = _pictures(sources, 40, seed + n)
            argv = command_line(Program.COMMAND_LINE, "submit", sources)
            argv += ["--model", "identity", "--codec", "ffv1", "--container", "mkv"]
            first = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            threading.Event().wait(rng.uniform(0.8, 4))
            half += first.poll() is None
            first.kill()
            first.communicate()
            second = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
            job = second.stdout.strip()
            _judge_folder(score, r, job, film, pictures, place / f"out-{n}")
    score.remarks.append(f"{half} of {count} were killed before their end")
    return score


def _pictures(sources: Path, count: int, seed: int) -> dict[str, bytes]:
    """Write small noisy PNG files into a folder; return name -> pixels."""
    rng, made = np.random.default_rng(seed), {}
    for n in range(count):
        pixels = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(sources / f"{n:03}.png")
        made[f"{n:03}.png"] = pixels.tobytes()
    return made


def _judge_folder(score: Score, r: Rig, job: str, film: Path, pictures: dict[str, bytes], place: Path) -> None:
    from testkit.cluster import differences, undisturbed

    manifest = r.finish(job, 120)
    paths = {path.name: path for path in r.jobs.fetch(job, lambda file: place / Path(file.name).name)}
    films = [path for name, path in paths.items() if name.startswith("film")]
    wrong = differences(undisturbed(film), undisturbed(films[0])) if films else 25
    wrong += sum(Image.open(paths[name]).tobytes() != pixels for name, pixels in pictures.items() if name in paths)
    wrong += sum(name not in paths for name in pictures)
    score.trials += 1
    score.right += manifest.state == "done" and wrong == 0
    score.wrong_frames += wrong


def poison(count: int, seed: int) -> Score:
    """Let one chunk fail every time, with four attempts, the default."""
    score, codes = Score("poison chunk"), set()
    for n in range(count):
        with folder() as place:
            film = make_film(place / "film.mp4", 50, seed=seed + n)
            with rig(place, workers=2, fault="poison-3") as r:
                job = r.submit(film)
                r.finish(job)
                status = r.jobs.status(job)
                argv = command_line(Program.COMMAND_LINE, "watch", job)
                environment = {**os.environ, **r.settings.environment()}
                watch = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
                codes.add(watch.returncode)
                tries = len(r.records.failed(job, 3).attempts)
                score.trials += 1
                score.right += (
                    (status.chunks.done, status.chunks.failed, tries) == (9, 1, 4)
                    and watch.returncode == 1
                    and "ValueError: poison" in watch.stderr
                )
    score.remarks.append(
        f"set aside after 4 attempts, the 9 others done, exit code {', '.join(map(str, sorted(codes)))}, reason shown"
    )
    return score


def hung(count: int, seed: int) -> Score:
    """Let a chunk hang, with or without heeding the soft limit: its worker is killed at the hard limit and replaced."""
    score = Score("chunk that hangs (limits of 2 s and 4 s)")
    for n in range(count):
        for fault in ("hang", "hang-hard"):
            with folder() as place:
                film = make_film(place / "film.mp4", 50, seed=seed + n)
                with rig(place, workers=1, fault=fault, chunk_soft_limit_s=2.0, chunk_hard_limit_s=4.0) as r:
                    job = r.submit(film)
                    began = time.monotonic()
                    score.judge(r, job, film, place, 1)
                    score.recoveries.append(time.monotonic() - began)
    score.remarks.append("seconds are whole jobs")
    return score
