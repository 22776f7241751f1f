"""Object keys as pure functions: the only place that knows the layout of the bucket.

jobs/<job>/job.json                    the spec and its items, immutable
jobs/<job>/plan.json                   the chunks, written by ingest; replaced only by a plan that extends it
jobs/<job>/control.json                pause, cancel and retry, as last asked for
jobs/<job>/items/<n>/source            original bytes
jobs/<job>/items/<n>/indexes/<sha256>  streams, frame index, colour, plan (of version 1: index.json)
jobs/<job>/items/<n>/witness/<sha256>  a plain decode's reading of a film whose index has that SHA-256
jobs/<job>/items/<n>/runs/<sha256>     packet run of a chunk (of version 1: chunks/<n>/input)
jobs/<job>/items/<n>/refused.txt       why the submitter could not upload this source
jobs/<job>/items/<n>/sequence.json     of numbered images that became a film: their names and hashes
jobs/<job>/chunks/<n>/attempt-<a>      an uncommitted result (a chunk of images: one object below it each)
jobs/<job>/chunks/<n>/attempt-<a>.masks  the mask film of that result, of a film with --masks
jobs/<job>/chunks/<n>/done.json        THE commit
jobs/<job>/chunks/<n>/failed.json      set aside after its last attempt, with the reasons
jobs/<job>/chunks/method.json          backend and precision of the job's network, written once by its first worker
jobs/<job>/chunks/headers-<sha256>.json  headers of a card's encoder for the encoding with that SHA-256, written once by its first worker
jobs/<job>/commit-log/<sha256>         copies of commits of a large job, one a line; done.json is what counts
jobs/<job>/results/manifest.json       the job's single commit: what the user gets, with hashes
jobs/<job>/results/records.jsonl       how each result was made, one record a line
jobs/<job>/results/notified.json       the end that was last posted to the webhook
jobs/<job>/results/files/<name>        what the user gets
submitters/<hash>/<job>                a job that counts for a submitter; the name is in it, its SHA-256 in the key
weights/<sha256>.safetensors           what workers load
train/<run>/run.json                   a training run's recipe and data, immutable
train/<run>/checkpoints/<n>-<hex>/...  a checkpoint's objects, uncommitted until named by a commit
train/<run>/commits/<n>.json           THE commit of checkpoint n
train/<run>/progress.json              the state last reported, overwritten
train/<run>/control.json               stop, as last asked for
train/<run>/gate.json                  what the gate measured
train/<run>/record.json                where the registered generator comes from
train/<run>/report.html                the run's report
"""

from __future__ import annotations

import hashlib
import re

from contract.errors import UsageError

_JOB = re.compile(r"[0-9a-f]{16}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ATTEMPT = re.compile(r"[0-9]{1,6}-[0-9a-f]{8}")
_ATTEMPT_OBJECT = re.compile(rf"attempt-({_ATTEMPT.pattern})(?=[/.]|\Z)")

SUBMITTERS = "submitters/"
"""Prefix of the marks of all submitters' jobs."""


def check_job(job: str) -> str:
    """Return `job` when it is a job id (16 hex digits); raise UsageError otherwise.

    Ids arrive in messages and on command lines; nothing else may reach a key.
    """
    if not _JOB.fullmatch(job):
        raise UsageError(f"{job[:80]!r} is not a job id: expected 16 hexadecimal digits, as `respool submit` prints.")
    return job


def check_sha256(sha256: str) -> str:
    """Return `sha256` when it is one in hex; raise UsageError otherwise."""
    if not _SHA256.fullmatch(sha256):
        raise UsageError(f"{sha256[:80]!r} is not a SHA-256: expected 64 hexadecimal digits.")
    return sha256


def is_job(text: str) -> bool:
    """Return True for a job id."""
    return _JOB.fullmatch(text) is not None


def _number(n: int) -> str:
    if n < 0:
        raise UsageError(f"{n} is not an item or chunk number: numbers start at 0.")
    return str(n)


def job_prefix(job: str) -> str:
    """Return the prefix of every object of a job."""
    return f"jobs/{check_job(job)}/"


def job_spec(job: str) -> str:
    """Return the key of the spec and its items."""
    return job_prefix(job) + "job.json"


def submissions_prefix(submitter: str) -> str:
    """Return the prefix of the marks of a submitter's jobs."""
    return f"{SUBMITTERS}{hashlib.sha256(submitter.encode()).hexdigest()}/"


def submission(submitter: str, job: str) -> str:
    """Return the key of the mark that a job counts for a submitter."""
    return submissions_prefix(submitter) + check_job(job)


def plan(job: str) -> str:
    """Return the key of the plan."""
    return job_prefix(job) + "plan.json"


def control(job: str) -> str:
    """Return the key of the user's last request."""
    return job_prefix(job) + "control.json"


def method(job: str) -> str:
    """Return the key of the way in which the job's network is computed."""
    return job_prefix(job) + "chunks/method.json"


def encoder_headers(job: str, encoding: str) -> str:
    """Return the key of the headers that a card's encoder writes for an encoding; `encoding` is the SHA-256 of its JSON."""
    return f"{job_prefix(job)}chunks/headers-{check_sha256(encoding)}.json"


def source(job: str, item: int) -> str:
    """Return the key of an item's original bytes."""
    return f"{job_prefix(job)}items/{_number(item)}/source"


def index(job: str, item: int, sha256: str = "") -> str:
    """Return the key of a film's index by its content, so that two ingests never overwrite each other's; of version 1 without one."""
    folder = f"{job_prefix(job)}items/{_number(item)}/"
    return f"{folder}indexes/{check_sha256(sha256)}" if sha256 else f"{folder}index.json"


def witness(job: str, item: int, index: str) -> str:
    """Return the key of a plain decode's reading of a film; `index` is the SHA-256 of the film's index."""
    return f"{job_prefix(job)}items/{_number(item)}/witness/{check_sha256(index)}"


def run(job: str, item: int, sha256: str) -> str:
    """Return the key of the packets of a video chunk by their content."""
    return f"{job_prefix(job)}items/{_number(item)}/runs/{check_sha256(sha256)}"


def items_prefix(job: str) -> str:
    """Return the prefix of the objects of a job's items."""
    return f"{job_prefix(job)}items/"


def refused(job: str, item: int) -> str:
    """Return the key of the reason why a source could not be uploaded; only such items have it."""
    return f"{job_prefix(job)}items/{_number(item)}/refused.txt"


def sequence(job: str, item: int) -> str:
    """Return the key of what a source was packed from; only films that were submitted as numbered images have it."""
    return f"{job_prefix(job)}items/{_number(item)}/sequence.json"


def sidecars_prefix(job: str) -> str:
    """Return the prefix of the XMP sidecars of a job's sources."""
    return f"{job_prefix(job)}sidecars/"


def sidecar(job: str, item: int, name: str) -> str:
    """Return the key of an item's XMP sidecar, which keeps its file name."""
    return f"{sidecars_prefix(job)}{_number(item)}/{check_name(name)}"


def chunk_prefix(job: str, chunk: int) -> str:
    """Return the prefix of the objects of a chunk."""
    return f"{job_prefix(job)}chunks/{_number(chunk)}/"


def chunk_input(job: str, chunk: int) -> str:
    """Return the key of the packets of a video chunk in plans of version 1."""
    return chunk_prefix(job, chunk) + "input"


def attempt(job: str, chunk: int, attempt_id: str) -> str:
    """Return the key of an attempt's result; `attempt_id` is ``<number>-<8 hex digits>``.

    The digits are drawn at each claim: after Redis lost everything the numbers start again, and two
    attempts with one number must still not write one object.
    """
    if not _ATTEMPT.fullmatch(attempt_id):
        raise UsageError(f"{attempt_id[:80]!r} is not an attempt id: expected <number>-<8 hex digits>.")
    return f"{chunk_prefix(job, chunk)}attempt-{attempt_id}"


def attempt_of(name: str) -> str:
    """Return the id of the attempt that stored the object `name`, as it is called below its chunk's prefix; "" for others."""
    found = _ATTEMPT_OBJECT.match(name)
    return found[1] if found else ""


def attempt_masks(job: str, chunk: int, attempt_id: str) -> str:
    """Return the key of the mask film of an attempt at a film's chunk."""
    return attempt(job, chunk, attempt_id) + ".masks"


def attempt_image(job: str, chunk: int, attempt_id: str, item: int) -> str:
    """Return the key of one finished image of an attempt at an image chunk."""
    return f"{attempt(job, chunk, attempt_id)}/{_number(item)}"


def done(job: str, chunk: int) -> str:
    """Return the key of a chunk's commit."""
    return chunk_prefix(job, chunk) + "done.json"


def commit_log_prefix(job: str) -> str:
    """Return the prefix of the copies of a job's commits."""
    return f"{job_prefix(job)}commit-log/"


def commit_log(job: str, sha256: str) -> str:
    """Return the key of a part of the copies of a job's commits, by its content."""
    return commit_log_prefix(job) + check_sha256(sha256)


def failed(job: str, chunk: int) -> str:
    """Return the key of the reasons why a chunk was set aside."""
    return chunk_prefix(job, chunk) + "failed.json"


def results_prefix(job: str) -> str:
    """Return the prefix of what a job delivers."""
    return job_prefix(job) + "results/"


def manifest(job: str) -> str:
    """Return the key of a job's manifest, its single commit."""
    return results_prefix(job) + "manifest.json"


def notified(job: str) -> str:
    """Return the key of the end that was last posted to the webhook."""
    return results_prefix(job) + "notified.json"


def records(job: str) -> str:
    """Return the key of a job's records, one a line."""
    return results_prefix(job) + "records.jsonl"


def result_file(job: str, name: str) -> str:
    """Return the key of a finished file; `name` is a relative POSIX path without empty, ``.`` or ``..`` parts."""
    return f"{results_prefix(job)}files/{check_name(name)}"


def check_name(name: str) -> str:
    """Return `name` when it is a safe relative path; raise UsageError otherwise.

    Names become paths on the archivist's disk, so none may leave its folder.
    """
    parts = name.split("/")
    if (
        not name
        or any(p in ("", ".", "..") for p in parts)
        or "\\" in name
        or any(ord(c) < 32 for c in name)
        or len(name.encode("utf-8", "surrogatepass")) > 900
    ):
        raise UsageError(f"{name[:120]!r} is not a usable file name: expected a relative path of at most 900 bytes.")
    return name


def weights(sha256: str, suffix: str = "safetensors") -> str:
    """Return the key of weights by content hash; `suffix` is ``safetensors`` or ``onnx`` (face detection)."""
    if not _SHA256.fullmatch(sha256) or suffix not in ("safetensors", "onnx"):
        raise UsageError(f"{sha256[:80]!r} is not a SHA-256 of weights: expected 64 hexadecimal digits.")
    return f"weights/{sha256}.{suffix}"


def train_prefix(run: str) -> str:
    """Return the prefix of a training run's objects; `run` has the form of a job id."""
    if not _JOB.fullmatch(run):
        raise UsageError(
            f"{run[:80]!r} is not a training run's id: expected 16 hexadecimal digits, as `respool training status` lists."
        )
    return f"train/{run}/"


def train_document(run: str, name: str) -> str:
    """Return the key of a document of a run: run.json, progress.json, control.json, gate.json, record.json, report.html."""
    return train_prefix(run) + check_name(name)


def checkpoint(run: str, number: int, attempt: str, part: str) -> str:
    """Return the key of one object of checkpoint `number`, written by the process group `attempt` (8 hex digits)."""
    if not re.fullmatch("[0-9a-f]{8}", attempt):
        raise UsageError(f"{attempt[:80]!r} is not an attempt of a training run: expected 8 hexadecimal digits.")
    return f"{train_prefix(run)}checkpoints/{_number(number)}-{attempt}/{check_name(part)}"


def commits_prefix(run: str) -> str:
    """Return the prefix of the commits of a run's checkpoints."""
    return train_prefix(run) + "commits/"


def commit(run: str, number: int) -> str:
    """Return the key of the commit of checkpoint `number`, padded so that keys sort by number."""
    return f"{commits_prefix(run)}{int(_number(number)):08}.json"
