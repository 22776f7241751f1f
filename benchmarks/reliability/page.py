"""docs/reliability.md: three tables whose rows are written one at a time, each in place of its previous version."""

from __future__ import annotations

from pathlib import Path

FAULTS = """# Reliability: injected faults and their results

The table lists each injected fault, how often it was tried, and how often the result was right; "wrong" counts frames that were
lost, doubled or changed. `make reliability` writes it, and `--rows NAME ...` repeats some rows; the short form of each runs in every `make test` (`tests/integration/test_faults.py`).

Every row is a real embedded cluster (Redis, SeaweedFS, orchestrator, Celery workers) restoring films with `--model identity`
into FFV1. Its frames (timestamp and SHA-256 of each) are compared with an undisturbed decode of the source; a trial is right only
when also no object of a dead attempt is left. "Recovery" is seconds from the fault until the chunk is held elsewhere or done (rows about
workers), until the next chunk is done (rows about servers), or until the job is done; median / 99th percentile.

Rows about whole lives of a job: a film that is refused for its memory is retried once the limit is raised; each process that reads a
film is killed until that film fails alone; one of two workers loses its scratch space, and S3 answers 503 for five minutes, each with
one try a chunk, so that a single counted failure would end the job; and two orchestrators go through kills, pauses, cancels, `respool gc`,
submissions and retries drawn at random, after which a user does what the status advises. A trial that ends in no such way is stuck, and not right.

Rows of 2026-11-29 were measured beside other work (load 8 to 13 on two cores), the others on a machine with nothing else to do.

| fault | times | right | wrong | recovery s | remark | when, scale, seed |
| --- | --- | --- | --- | --- | --- | --- |
"""

CALLS = """
## Single calls, disturbed

`python -m benchmarks.reliability.crash_points --page` goes through every single call of a job's life, and writes this table: each S3, Redis and queue call of
submission, ingest, commit, settling, assembly, sweep, closing, retry, cancel, pause, gc and resubmission fails before or after its effect, is
repeated because its answer was lost, meets an outage, stands still until all else is at rest, or is its process' last. One way at one call is a trial, over a real Redis and S3 in memory. A trial
is wrong where a result is not its own source's, a commit names what is not there, anything else is left of attempts, or a server's fault cost a chunk a try; stuck where the job
does not come to its end.

| scenario | orchestrators | calls | trials | wrong | stuck | seconds | when |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""

SCALE = """
## Scale, simulated

`python -m benchmarks.speed.scale --page` writes this table. Orchestrator, Redis, S3, broker and task code are real; only
enhancing is a sleep, and workers are threads of a few processes, each of which takes messages over one connection; beyond a hundred workers each reports
less often, since all of them have two cores together. Churn is the share of chunks whose worker vanishes with its lease; the
start of another is not counted (a real one takes 2 s of CPU for its imports, and 0.1 s to read a plan of 100,000 chunks). CPU is
that of all processes together, including threads that simulate workers and processes for ingest and assembly; memory is each process' own at
the end. "Small job" is how long a job of eight chunks, submitted in the middle of the large one, waited until a worker claimed its first
chunk.

| chunks | workers | seconds each | churn | ended | wall s | efficiency | CPU ms a chunk | by role | small job s | Redis MiB | orchestrator MiB | when |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


_HEADS = FAULTS, CALLS, SCALE


def write(path: Path, line: str, head: str = FAULTS, key: int = 1) -> None:
    """Put `line` into the table under `head` in place of the row with the same first `key` cells; keep the rest."""
    rest = path.read_text() if path.exists() else ""
    tables: dict[str, list[str]] = {}
    for one in reversed(_HEADS):
        title = one.strip().splitlines()[0]
        rest, _, own = rest.partition(title)
        tables[one] = _rows(own)
    tables[head] = list(({_key(row, key): row for row in tables[head]} | {_key(line, key): line}).values())
    written = [one + "".join(row + "\n" for row in tables[one]) for one in _HEADS if one is FAULTS or tables[one]]
    path.write_text("".join(written))


def _key(row: str, cells: int) -> str:
    return "|".join(row.split("|")[: cells + 1])


def _rows(text: str) -> list[str]:
    """Return the rows of the one table in `text`, without its head."""
    return [line for line in text.splitlines() if line.startswith("| ")][2:]
