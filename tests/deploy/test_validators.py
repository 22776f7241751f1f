"""Files in deploy/ before real validators: hadolint, shellcheck, docker compose, promtool. The chart is in test_chart.py."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from contract.settings import Settings
from orchestrator.service.metrics import registry
from stores.ledger import Ledger
from testkit.validators import DEPLOY, ROOT, Need, call
from workers.runtime.metrics import Meter


def test_dockerfiles_pass_hadolint(need: Need) -> None:
    """No warning is left but those ignored beside their reason."""
    call(need("hadolint"), *sorted((DEPLOY / "docker").glob("*.Dockerfile")))


def test_scripts_pass_shellcheck(need: Need) -> None:
    """Every shell script of the repository, batch files for Slurm included."""
    scripts = [*DEPLOY.rglob("*.sh"), *DEPLOY.rglob("*.sbatch"), ROOT / ".ci" / "run"]
    call(need("shellcheck"), *sorted(scripts))


@pytest.fixture
def composed(need: Need, tmp_path: Path) -> dict[str, Any]:
    """compose.yaml as Docker Compose itself reads it, with all profiles and fresh secrets."""
    shutil.copytree(DEPLOY, tmp_path / "deploy", symlinks=True)
    folder = tmp_path / "deploy" / "compose"
    call(folder / "secrets.sh")
    made = call(
        need("docker-compose"),
        "--profile",
        "monitoring",
        "--profile",
        "training",
        "config",
        "--format",
        "json",
        cwd=folder,
    )
    found: dict[str, Any] = json.loads(made)
    found["secrets_folder"] = folder / "secrets"
    return found


def test_compose_is_understood_and_every_service_is_hardened(composed: dict[str, Any]) -> None:
    """Docker Compose accepts the file; no service may gain privileges, keep capabilities or open a port to the world."""
    assert {"redis", "s3", "orchestrator", "worker", "train", "flower", "prometheus", "grafana"} == composed[
        "services"
    ].keys()
    for name, service in composed["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", [])), name
    worker = composed["services"]["worker"]
    assert worker["stop_grace_period"] == "1m0s"  # longer than a worker takes to hand its chunk back
    assert "gpu" in str(worker["deploy"]["resources"]["reservations"]["devices"])


def test_compose_runs_workers_on_processors(need: Need, composed: dict[str, Any]) -> None:
    """With cpu.yaml a worker asks for no GPU, and is as hardened as before."""
    files = ("-f", "compose.yaml", "-f", "cpu.yaml")
    made = json.loads(
        call(need("docker-compose"), *files, "config", "--format", "json", cwd=composed["secrets_folder"].parent)
    )
    worker, before = made["services"]["worker"], composed["services"]["worker"]
    assert worker["entrypoint"] == ["respool"]
    assert not worker["deploy"].get("resources")
    assert worker["environment"]["RESPOOL_DEVICE"] == "cpu"
    changed = {"deploy", "entrypoint", "environment"}
    assert {k: v for k, v in worker.items() if k not in changed} == {
        k: v for k, v in before.items() if k not in changed
    }


def test_no_secret_stands_in_the_composition(composed: dict[str, Any]) -> None:
    """Secrets reach processes through files: none is in an environment, a command line or a health check."""
    text = json.dumps(composed["services"])
    secrets = [path.read_text() for path in composed["secrets_folder"].iterdir() if path.name != "s3_identities"]
    assert len(secrets) >= 10
    assert not [secret for secret in secrets if secret in text]
    assert composed["secrets_folder"].stat().st_mode & 0o077 == 0


def test_secrets_are_made_once(composed: dict[str, Any]) -> None:
    """Running the script again changes no password."""
    folder = composed["secrets_folder"]
    before = {path.name: path.read_text() for path in folder.iterdir()}
    call(folder.parent / "secrets.sh")
    assert before == {path.name: path.read_text() for path in folder.iterdir()}


def test_alert_rules_fire_when_they_should_and_not_before(need: Need) -> None:
    """Each rule against made-up histories, by Prometheus' own evaluator."""
    call(need("promtool"), "check", "rules", "alerts.yaml", cwd=DEPLOY / "monitoring")
    call(need("promtool"), "test", "rules", "alerts.test.yaml", cwd=DEPLOY / "monitoring")


def test_every_alert_is_tested_and_explained() -> None:
    """No rule without a case in which it fires, and none without a word in docs/operations.md."""
    rules = yaml.safe_load((DEPLOY / "monitoring/alerts.yaml").read_text())["groups"][0]["rules"]
    cases = yaml.safe_load((DEPLOY / "monitoring/alerts.test.yaml").read_text())["tests"]
    fired = {c["alertname"] for t in cases for c in t["alert_rule_test"] if c["exp_alerts"]}
    assert {rule["alert"] for rule in rules} == fired
    told = (ROOT / "docs" / "operations.md").read_text()
    assert not [rule["alert"] for rule in rules if rule["alert"] not in told]


def test_prometheus_of_compose_reads_its_configuration(need: Need, tmp_path: Path) -> None:
    """`promtool` accepts it, with the rules where it expects them."""
    text = (DEPLOY / "compose/prometheus.yaml").read_text().replace("/etc/prometheus/", f"{DEPLOY}/monitoring/")
    (tmp_path / "prometheus.yaml").write_text(text)
    call(need("promtool"), "check", "config", tmp_path / "prometheus.yaml")


def expressions() -> Iterator[str]:
    """Every query of the dashboard and of the alerts."""
    dashboard = json.loads((DEPLOY / "monitoring/dashboard.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for rule in yaml.safe_load((DEPLOY / "monitoring/alerts.yaml").read_text())["groups"][0]["rules"]:
        yield rule["expr"]


def names(found: CollectorRegistry) -> set[str]:
    """Names of all series of a registry, with the endings that kinds of metric add."""
    made = set()
    for family in found.collect():
        made |= {sample.name for sample in family.samples} or {family.name}
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        made |= {family.name + ending for ending in endings}
    return made


def test_dashboard_and_alerts_ask_for_metrics_that_exist(need: Need, settings: Settings, tmp_path: Path) -> None:
    """Prometheus parses every query of the dashboard, and every metric in it or in an alert is one of ours."""
    rules = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(expressions())]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    call(need("promtool"), "check", "rules", tmp_path / "panels.yaml")
    known = names(registry(settings, Ledger(settings))) | names(Meter(tmp_path).registry)
    known |= {"respool_gpu_memory_bytes"}  # only where a GPU is
    asked = {name for expr in expressions() for name in re.findall(r"\brespool_[a-z_]+\b", expr)}
    assert asked - known == set()


@pytest.fixture
def two_cards(tmp_path: Path) -> dict[str, str]:
    """An environment with an nvidia-smi that shows two cards, and a folder for their locks."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf 'GPU-a\\nGPU-b\\n'\n")
    program.chmod(0o755)
    (tmp_path / "locks").mkdir()
    return {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "RESPOOL_GPU_LOCKS": str(tmp_path / "locks")}


@pytest.mark.skipif(sys.platform != "linux", reason="flock is of util-linux")
def test_each_container_of_a_host_takes_a_gpu_of_its_own(two_cards: dict[str, str]) -> None:
    """Two workers get two cards, a third gets an error, and a card is free again when its worker ends."""
    argv = [DEPLOY / "docker/one-gpu.sh", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES; exec cat"]

    def begin() -> subprocess.Popen[str]:
        return subprocess.Popen(argv, env=two_cards, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def card(worker: subprocess.Popen[str]) -> str:
        assert worker.stdout is not None
        return worker.stdout.readline().strip()

    with begin() as first, begin() as second:
        assert sorted((card(first), card(second))) == ["GPU-a", "GPU-b"]
        third = subprocess.run(argv, env=two_cards, capture_output=True, text=True, check=False)
        assert third.returncode == 75
        assert "all GPUs" in third.stderr
        second.communicate()
        with begin() as fourth:
            assert card(fourth).startswith("GPU-")
            fourth.communicate()
        first.communicate()


def test_a_bill_of_materials_lists_what_is_installed(need: Need, tmp_path: Path) -> None:
    """`make sbom` writes valid CycloneDX, with every dependency that pyproject.toml names for production."""
    out = tmp_path / "sbom.json"
    argv = ["environment", Path(sys.prefix) / "bin" / "python", "--output-reproducible", "--of", "JSON", "-o", out]
    call(need("cyclonedx-py"), *argv)
    parts = {part["name"].lower().replace("_", "-") for part in json.loads(out.read_text())["components"]}
    assert {"celery", "redis", "boto3", "av", "pyvips", "prometheus-client", "torch"} <= parts
