"""The chart's schema of values: complete, and before Helm a refusal of every mistake."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
Need = Callable[[str], str]


def values_schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "helm/values.schema.json").read_text())
    return found


def test_the_schema_has_every_value() -> None:
    """Each value of values.yaml is in the schema and the other way round, and no object of ours takes unknown keys."""
    schema = values_schema()

    def compare(values: object, part: dict[str, Any], path: str) -> None:
        part = schema["definitions"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        if part.get("type") != "object" or "properties" not in part:
            return
        assert part["additionalProperties"] is False, path
        assert isinstance(values, dict), path
        partial = path.endswith(("resources", ".requests", ".limits"))
        assert values.keys() == part["properties"].keys() - {"global"} or partial, path
        for key, inner in values.items():
            compare(inner, part["properties"][key], f"{path}.{key}")

    compare(yaml.safe_load((DEPLOY / "helm/values.yaml").read_text()), schema, "values")


def test_settings_of_the_chart_are_settings() -> None:
    """Every setting can be set but those that the chart sets itself and those that belong into the secret."""
    elsewhere = {
        "redis_url",
        "broker_url",
        "flower_user",
        "flower_password",
        "metrics_port",
        "metrics_host",
        "device",
        "webhook",
        "submitter",
        "submitter_chunks",
        "submitter_bytes",
    }
    elsewhere |= {
        "s3_endpoint",
        "s3_access_key",
        "s3_secret_key",
        "s3_region",
        "s3_bucket",
        "state",
        "cache",
        "scratch",
    }
    known = {f"RESPOOL_{field.name.upper()}" for field in fields(Settings) if field.name not in elsewhere}
    assert set(values_schema()["properties"]["settings"]["propertyNames"]["enum"]) == known


@pytest.mark.parametrize(
    "wrong",
    [
        "wroker.replicas=2", "worker.replicas=many", "worker.gpu.cuont=1", "settings.RESPOOL_LEASE_TLL_S=3",
        "settings.RESPOOL_S3_SECRET_KEY=abc", "orchestrator.scratch.size=lots", "images.worker.digest=sha256:1",
        "existingSecret=", "autoscaling.scaleDown.pods=0",
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused(need: Need, wrong: str) -> None:
    """A misspelt name, a word for a number and a secret among the settings stop Helm before anything is installed."""
    done = subprocess.run(
        [need("helm"), "template", "r", DEPLOY / "helm", "--set", "s3.endpoint=https://s3.example.org", "--set", wrong],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr
