"""Every file in deploy/ before a real validator: hadolint, shellcheck, docker compose, helm with Kubernetes' schemas, promtool."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from contract.settings import Settings
from orchestrator.service.metrics import registry
from stores.ledger import Ledger
from training.__main__ import FAILED, STOPPED, TERMINATED, USAGE
from workers.runtime.metrics import Meter

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
Need = Callable[[str], str]

VALUES = {
    "plain": ["--set", "s3.endpoint=https://s3.example.org"],
    "bundled": ["--set", "bundled.enabled=true", "--set", "monitoring.enabled=true"],
    "bare": [
        *("--set", "s3.endpoint=https://s3.example.org", "--set", "autoscaling.enabled=false"),
        *("--set", "flower.enabled=false", "--set", "networkPolicy.enabled=false", "--set", "orchestrator.replicas=1"),
    ],
    "open": [
        *("--set", "s3.endpoint=https://s3.example.org", "--set", "worker.affinity.nodeAffinity=null"),
        *("--set", "networkPolicy.flowerFrom[0].namespaceSelector.matchLabels.name=ops"),
        *("--set", "images.pullSecrets[0].name=registry", "--set", "worker.priorityClassName=low"),
    ],
    "training": [
        *("--set", "bundled.enabled=true", "--set", "training.enabled=true", "--set", "training.gpus=4"),
        *("--set", "training.args={finetune,realesr-animevideov3,--clean,s3://respool/material,-o,ours}"),
        *("--set-string", "training.damage=version = 1"),
    ],
}


def call(*argv: str | Path, cwd: Path = ROOT) -> str:
    """Run a validator and return its output; fail with its complaints when it has any."""
    done = subprocess.run([str(a) for a in argv], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def template(need: Need, *values: str) -> list[dict[str, Any]]:
    """The chart's objects."""
    made = call(need("helm"), "template", "r", DEPLOY / "helm", "--namespace", "archive", *values)
    return [document for document in yaml.safe_load_all(made) if document]


def one(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


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


def test_the_chart_passes_the_schemas_of_kubernetes(need: Need, tmp_path: Path) -> None:
    """`helm` lints and renders it, and every object is what the oldest and the newest supported Kubernetes expect."""
    rendered = []
    for values in VALUES.values():
        call(need("helm"), "lint", "--strict", DEPLOY / "helm", *values)
        rendered += template(need, *values)
    core = [o for o in rendered if "keda.sh" not in o["apiVersion"] and "coreos.com" not in o["apiVersion"]]
    assert len(core) > 40
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(core))
    for version in ("1.25", "1.37"):
        call(need("kubernetes-validate"), "--strict", "--quiet", "-k", version, tmp_path / "all.yaml")


def conforms(need: Need, made: dict[str, Any], module: str, folder: Path) -> None:
    """Hold an object against the definition that its operator ships, as cloudcoil's packages in .tools carry it.

    What the definition lacks would be gone from the copy that it makes, what it does not allow makes it fail.
    """
    (folder / "object.json").write_text(json.dumps(made))
    check = (
        "import importlib, json, sys; d = json.load(open(sys.argv[1])); "
        f"kind = getattr(importlib.import_module('cloudcoil.models.{module}'), d['kind']); "
        "m = kind.model_validate(d).model_dump(by_alias=True, exclude_unset=True, mode='json'); "
        "assert m == d, (m, d)"
    )
    call(Path(need("kubernetes-validate")).with_name("python"), "-c", check, folder / "object.json")


@pytest.mark.parametrize("kind", ["PodMonitor", "PrometheusRule"])
def test_monitoring_is_what_the_prometheus_operator_expects(need: Need, tmp_path: Path, kind: str) -> None:
    """No field that the operator's own definitions lack, and the rules it installs are the file that promtool tested."""
    made = one(template(need, *VALUES["bundled"]), kind, "r")
    conforms(need, made, "prometheus_operator.v1", tmp_path)
    if kind == "PrometheusRule":
        assert made["spec"] == yaml.safe_load((DEPLOY / "monitoring/alerts.yaml").read_text())
        made["spec"]["groups"][0]["rules"][0]["expression"] = "1"
    else:
        port = made["spec"]["podMetricsEndpoints"][0]
        assert port["port"] == "metrics"
        port["intervall"] = "15s"
    with pytest.raises(AssertionError):
        conforms(need, made, "prometheus_operator.v1", tmp_path)  # a slip of the pen is noticed


def test_the_autoscaler_is_what_keda_expects(need: Need, tmp_path: Path) -> None:
    """The ScaledObject has no field that KEDA's own definition lacks, and follows queued plus leased chunks to zero and back."""
    scaled = one(template(need, *VALUES["plain"]), "ScaledObject", "r-worker")
    conforms(need, scaled, "keda.v1alpha1", tmp_path)
    spec = scaled["spec"]
    (trigger,) = spec["triggers"]
    assert trigger["metadata"]["valueLocation"] == "respool_backlog_chunks"
    assert spec["minReplicaCount"] == 0
    down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 120}]
    service = one(template(need, *VALUES["plain"]), "Service", "r-orchestrator")
    assert f"http://{service['metadata']['name']}.archive.svc:{service['spec']['ports'][0]['port']}" in str(trigger)


def test_workers_in_kubernetes_have_one_gpu_and_time_to_leave(need: Need) -> None:
    """One GPU each, no number of replicas that would fight the autoscaler, more than the 15 s a hand-back takes."""
    worker = one(template(need, *VALUES["plain"]), "Deployment", "r-worker")["spec"]
    assert "replicas" not in worker
    pod = worker["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["terminationGracePeriodSeconds"] >= 30
    assert worker["strategy"]["rollingUpdate"]["maxSurge"] == 0
    bare = one(template(need, *VALUES["bare"]), "Deployment", "r-worker")["spec"]
    assert bare["replicas"] == 1


def test_training_in_kubernetes_goes_on_after_evictions_alone(need: Need) -> None:
    """One pod with all GPUs, time to write a checkpoint, and no further try for a refused generator or a bad command."""
    job = one(template(need, *VALUES["training"]), "Job", "r-train")["spec"]
    ignored, fatal = job["podFailurePolicy"]["rules"]
    assert (ignored["action"], ignored["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert (fatal["action"], fatal["onExitCodes"]["values"]) == ("FailJob", [FAILED, USAGE, STOPPED])
    assert TERMINATED not in fatal["onExitCodes"]["values"]
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["terminationGracePeriodSeconds"] >= 120
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 4
    assert container["args"][0] == "finetune"
    with pytest.raises(AssertionError, match=r"training\.args is needed"):
        template(need, *VALUES["bundled"], "--set", "training.enabled=true")


def test_each_pod_sees_its_own_secrets_alone(need: Need) -> None:
    """A worker's pod has no key of the orchestrator's, Flower's no key to S3 at all, and no pod a token for Kubernetes."""
    objects = template(need, *VALUES["training"])
    seen = {}
    for kind in ("Deployment", "StatefulSet", "Job"):
        for found in (o for o in objects if o["kind"] == kind):
            pod = found["spec"]["template"]["spec"]
            assert pod["automountServiceAccountToken"] is False
            assert pod["securityContext"]["runAsNonRoot"] is True
            for container in pod["containers"]:
                assert container["securityContext"]["readOnlyRootFilesystem"] is True
                assert not [
                    e for e in container.get("env", []) if "SECRET_KEY" in e["name"] and "FILE" not in e["name"]
                ]
            (volume,) = [v for v in pod["volumes"] if v["name"] == "secrets"]
            seen[found["metadata"]["name"]] = {item["key"] for item in volume["secret"]["items"]}
    assert seen == {
        "r-orchestrator": {"redis_url", "orchestrator_s3_access_key", "orchestrator_s3_secret_key"},
        "r-worker": {"redis_url", "worker_s3_access_key", "worker_s3_secret_key"},
        "r-train": {"redis_url", "trainer_s3_access_key", "trainer_s3_secret_key"},
        "r-flower": {"redis_url", "flower_password"},
        "r-redis": {"redis_password"},
        "r-s3": {"s3_identities"},
    }


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
