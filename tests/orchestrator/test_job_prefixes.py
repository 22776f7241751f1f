"""Jobs are named by the first digits of their ids, where those name one job alone."""

from __future__ import annotations

import pytest

from contract import keys
from contract.errors import UsageError
from contract.settings import Settings
from orchestrator.job_store import Records
from stores.storage import Storage


def test_first_digits_name_a_job(settings: Settings) -> None:
    """Four digits or more find the only job that begins so; ambiguous, unknown and malformed ones are told apart."""
    storage = Storage(settings)
    storage.ensure_bucket()
    for job in ("abcd000000000001", "abcd000000000002", "ef01000000000003"):
        storage.put(keys.job_spec(job), b"{}")
    records = Records(storage)
    assert records.full_id("ef01") == "ef01000000000003"
    assert records.full_id("abcd000000000002") == "abcd000000000002"
    assert records.full_id("abcd00000000000" + "1") == "abcd000000000001"
    with pytest.raises(UsageError, match="begins the ids of 2 jobs"):
        records.full_id("abcd")
    with pytest.raises(UsageError, match=r"no job 1234\.\.\."):
        records.full_id("1234")
    for wrong in ("abc", "../x", "ABCD", "*"):
        with pytest.raises(UsageError, match="is not a job id"):
            records.full_id(wrong)
