"""`make reliability`: every row of docs/reliability.md, or those named with --rows, which replace the present ones."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks.reliability import ingest, jobs, page, servers, workers
from benchmarks.reliability.score import Score
from benchmarks.reliability.storm import storm
from benchmarks.reliability.two_orchestrators import two_orchestrators

Row = Callable[[Callable[[int], int], int], Score]
"""Function from (a scaler of counts, a seed) to a score."""

ROWS: dict[str, Row] = {
    "kills": lambda n, seed: workers.kills(n(200), seed),
    "lost": lambda n, seed: workers.lost_messages(n(50), seed),
    "sleepers": lambda n, seed: workers.sleepers(n(10), seed),
    "leave": lambda n, seed: workers.told_to_leave(n(5), seed),
    "lines": lambda n, seed: workers.worst_lines(n(5), seed),
    "last": lambda n, seed: servers.last_commit(n(5), seed),
    "twice": lambda n, seed: jobs.doubled(n(3), seed),
    "flush": lambda n, seed: servers.hurt_in_mid_job("FLUSHALL in mid-job", n(12), servers.flush, seed),
    "redis": lambda n, seed: servers.hurt_in_mid_job("Redis kill -9 in mid-job", n(12), servers.killer("redis"), seed),
    "s3": lambda n, seed: servers.hurt_in_mid_job("S3 server kill -9 in mid-job", n(6), servers.killer("s3"), seed),
    "orchestrator": lambda n, seed: servers.hurt_in_mid_job(
        "orchestrator kill -9 at a random moment", n(12), servers.killer("orchestrator"), seed
    ),
    "acts": lambda n, seed: servers.orchestrator_lines(n(3), seed),
    "everything": lambda n, seed: servers.everything(n(5), seed),
    "flaky": lambda n, seed: servers.misbehaving_s3(n(3), seed),
    "producer": lambda n, seed: jobs.producer(n(10), seed),
    "poison": lambda n, seed: jobs.poison(n(3), seed),
    "hung": lambda n, seed: jobs.hung(n(2), seed),
    "refused": lambda n, seed: ingest.refused(n(6), seed),
    "killed": lambda n, seed: ingest.killed(n(6), seed),
    "broken": lambda n, seed: workers.broken(n(6), seed),
    "brownout": lambda n, seed: servers.brown_out(n(3), n(300), seed),
    "two": lambda n, seed: two_orchestrators(n(10), seed),
    "storm": lambda n, seed: storm(seed, n(90)),
}


def main() -> int:
    """Run rows and write them into the page; 1 when any result was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rows", nargs="*", choices=[[], *ROWS], default=[], help="all when none is named")
    parser.add_argument("--page", type=Path, default=Path("docs/reliability.md"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the long form: 200 kills, 50 lost messages")
    options = parser.parse_args()
    wrong = 0
    for name in options.rows or ROWS:
        began = datetime.now(UTC)
        score = ROWS[name](lambda count: max(1, round(count * options.scale)), options.seed)
        when = f"{began:%Y-%m-%d %H:%M}, {options.scale:g}, {options.seed}"
        line = f"{score.row()} {when} |"
        print(line, flush=True)
        page.write(options.page, line)  # a row that fails does not stop the others
        wrong += score.right != score.trials
    print(f"{platform.machine()}, {psutil.cpu_count()} cores: {wrong} rows with something wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
