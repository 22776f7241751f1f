"""Settings from mounted secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.errors import UsageError
from contract.settings import load


def test_a_setting_is_read_from_the_file_its_file_variable_names(tmp_path: Path) -> None:
    """A secret mounted as a file becomes the setting, without the newline at its end."""
    secret = tmp_path / "key"
    secret.write_text("s3cret with spaces \n")
    assert load({"RESPOOL_S3_SECRET_KEY_FILE": str(secret)}).s3_secret_key == "s3cret with spaces "
    number = tmp_path / "window"
    number.write_text("7\n")
    assert load({"RESPOOL_WINDOW_FILE": str(number)}).window == 7


def test_a_value_in_the_environment_comes_before_its_file(tmp_path: Path) -> None:
    """A child process that was given the value itself does not need the parent's file."""
    (tmp_path / "key").write_text("from the file")
    environ = {"RESPOOL_S3_SECRET_KEY": "from the variable", "RESPOOL_S3_SECRET_KEY_FILE": str(tmp_path / "key")}
    assert load(environ).s3_secret_key == "from the variable"


def test_a_secret_that_cannot_be_read_is_named_and_not_taken_for_empty(tmp_path: Path) -> None:
    """A missing mount, bytes that are no text, or a file that is no setting stop the process with the variable's name."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "long").write_text("x" * 100_000)
    for name in ("absent", "binary", "long"):
        with pytest.raises(UsageError, match="RESPOOL_REDIS_URL_FILE"):
            load({"RESPOOL_REDIS_URL_FILE": str(tmp_path / name)})


def test_settings_print_without_secrets() -> None:
    """A traceback or a log line that shows the settings shows no password."""
    shown = repr(
        load(
            {
                "RESPOOL_REDIS_URL": "redis://:hunter2@h:1/0",
                "RESPOOL_BROKER_URL": "amqp://u:hunter2@h",
                "RESPOOL_S3_SECRET_KEY": "hunter2",
                "RESPOOL_WEBHOOK": "https://h/hunter2",
            }
        )
    )
    assert "hunter2" not in shown
    assert "s3_bucket" in shown
