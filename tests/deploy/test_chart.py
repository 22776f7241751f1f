"""The Helm chart before Helm, the schemas of Kubernetes, KEDA and the Prometheus operator."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.cli.gc import gc as collector
from testkit.validators import DEPLOY, ROOT, Need, call
from training.__main__ import FAILED, STOPPED, TERMINATED, USAGE

ROLE = "arn:aws:iam::111122223333:role/respool-worker"

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
    "cloud": [
        *("--set", "s3.endpoint=https://s3.example.org", "--set", "s3.keys=false", "--set", "separateBroker=true"),
        *("--set", f"serviceAccounts.annotations.worker.eks\\.amazonaws\\.com/role-arn={ROLE}"),
        *("--set", "priorityClasses.create=true", "--set", "gc.enabled=true", "--set", "gc.results=true"),
        *("--set", "flower.ingress.enabled=true", "--set", "flower.ingress.host=flower.example.org"),
        *("--set", "flower.ingress.tlsSecret=flower-tls", "--set", "flower.ingress.className=nginx"),
        *("--set", "networkPolicy.flowerFrom[0].namespaceSelector.matchLabels.name=ingress-nginx"),
        *("--set", f"images.worker.digest=sha256:{64 * 'a'}", "--set", "settings.RESPOOL_THREADS=4"),
    ],
}


def template(need: Need, *values: str) -> list[dict[str, Any]]:
    """The chart's objects."""
    made = call(need("helm"), "template", "r", DEPLOY / "helm", "--namespace", "archive", *values)
    return [document for document in yaml.safe_load_all(made) if document]


def one(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


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
    objects = template(need, *VALUES["training"], "--set", "gc.enabled=true")
    seen = {}
    for kind in ("Deployment", "StatefulSet", "Job", "CronJob"):
        for found in (o for o in objects if o["kind"] == kind):
            spec = found["spec"]["jobTemplate"]["spec"] if kind == "CronJob" else found["spec"]
            pod = spec["template"]["spec"]
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
        "r-gc": {"redis_url", "operator_s3_access_key", "operator_s3_secret_key"},
        "r-flower": {"redis_url", "flower_password"},
        "r-redis": {"redis_password"},
        "r-s3": {"s3_identities"},
    }


def test_each_role_has_an_account_of_its_own(need: Need) -> None:
    """With annotated accounts pods have no S3 key at all, each role's pods run as its account, and the broker's address is a file."""
    objects = template(need, *VALUES["cloud"], "--set", "training.enabled=true", "--set", "training.args={resume}")
    account = one(objects, "ServiceAccount", "r-worker")
    assert account["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": ROLE}
    assert "annotations" not in one(objects, "ServiceAccount", "r-orchestrator")["metadata"]
    accounts = {o["metadata"]["name"] for o in objects if o["kind"] == "ServiceAccount"}
    pods = dict(pods_of(objects))
    assert {name: pod["serviceAccountName"] for name, pod in pods.items()} == {
        "r-orchestrator": "r-orchestrator",
        "r-worker": "r-worker",
        "r-train": "r-training",
        "r-gc": "r-gc",
        "r-flower": "r",
    }
    assert {pod["serviceAccountName"] for pod in pods.values()} <= accounts
    for pod in pods.values():
        assert "s3_secret_key" not in json.dumps(pod)
        (secrets,) = [v["secret"]["items"] for v in pod["volumes"] if v["name"] == "secrets"]
        assert "broker_url" in {item["key"] for item in secrets}
        environment = {e["name"]: e["value"] for c in pod["containers"] for e in c["env"]}
        assert environment["RESPOOL_BROKER_URL_FILE"] == "/run/secrets/respool/broker_url"
    assert not [
        o
        for o in template(need, *VALUES["plain"], "--set", "serviceAccounts.create=false")
        if o["kind"] == "ServiceAccount"
    ]
    with pytest.raises(AssertionError, match=r"s3\.keys must be true with bundled\.enabled"):
        template(need, *VALUES["bundled"], "--set", "s3.keys=false")


def pods_of(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the pods of all objects, each with its owner's name."""
    for found in objects:
        spec = found.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield found["metadata"]["name"], spec["template"]["spec"]


def test_the_webhook_is_the_orchestrators_alone(need: Need) -> None:
    """Its address, which may be a secret, is a file in the orchestrator's pods and in no others."""
    seen = {
        name: {item["key"] for v in pod["volumes"] if v["name"] == "secrets" for item in v["secret"]["items"]}
        for name, pod in pods_of(template(need, *VALUES["bundled"], "--set", "webhook=true"))
    }
    assert {name for name, keys in seen.items() if "webhook" in keys} == {"r-orchestrator"}
    pod = dict(pods_of(template(need, *VALUES["plain"], "--set", "webhook=true")))["r-orchestrator"]
    assert {"name": "RESPOOL_WEBHOOK_FILE", "value": "/run/secrets/respool/webhook"} in pod["containers"][0]["env"]


def test_quotas_are_the_orchestrators(need: Need) -> None:
    """They are whole numbers, which templates would write as 1e+06, in the orchestrator's pods; workers know of none."""
    pods = dict(pods_of(template(need, *VALUES["plain"], "--set", "quotas.chunks=4000000,quotas.bytes=9000000000000")))
    assert {"name": "RESPOOL_SUBMITTER_CHUNKS", "value": "4000000"} in pods["r-orchestrator"]["containers"][0]["env"]
    bytes_ = {"name": "RESPOOL_SUBMITTER_BYTES", "value": "9000000000000"}
    assert bytes_ in pods["r-orchestrator"]["containers"][0]["env"]
    assert "SUBMITTER" not in str(pods["r-worker"])


def test_images_are_of_the_version_or_a_digest(need: Need) -> None:
    """Without a word every image of ours has the chart's version as its tag, and a digest replaces it."""
    chart = yaml.safe_load((DEPLOY / "helm/Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["version"] == chart["appVersion"] == project["version"]
    ours = {c["image"] for _, pod in pods_of(template(need, *VALUES["plain"])) for c in pod["containers"]}
    assert ours == {f"respool-{name}:{project['version']}" for name in ("orchestrator", "worker")}
    worker = one(template(need, *VALUES["cloud"]), "Deployment", "r-worker")["spec"]["template"]["spec"]
    assert worker["containers"][0]["image"] == f"respool-worker@sha256:{64 * 'a'}"


def test_priorities_are_named_or_made(need: Need) -> None:
    """A named class is taken, those of the release come with it, and only the orchestrator's may take another pod's room."""
    objects = template(need, *VALUES["cloud"], "--set", "orchestrator.priorityClassName=system")
    made = {o["metadata"]["name"]: o for o in objects if o["kind"] == "PriorityClass"}
    assert made.keys() == {f"archive-r-{role}" for role in ("orchestrator", "worker", "training")}
    assert "preemptionPolicy" not in made["archive-r-orchestrator"]
    assert made["archive-r-worker"]["preemptionPolicy"] == "Never"
    classes = {name: pod.get("priorityClassName") for name, pod in pods_of(objects)}
    assert (classes["r-orchestrator"], classes["r-worker"]) == ("system", "archive-r-worker")
    assert "priorityClassName" not in json.dumps(template(need, *VALUES["plain"]))


def test_flower_is_reached_over_tls_alone(need: Need) -> None:
    """The Ingress names certificate and host, and is refused without one, or where the network policy would shut it out."""
    spec = one(template(need, *VALUES["cloud"]), "Ingress", "r-flower")["spec"]
    assert spec["tls"] == [{"hosts": ["flower.example.org"], "secretName": "flower-tls"}]
    (rule,) = spec["rules"]
    assert rule["host"] == "flower.example.org"
    service = rule["http"]["paths"][0]["backend"]["service"]
    ports = one(template(need, *VALUES["cloud"]), "Service", service["name"])["spec"]["ports"]
    assert service["port"]["name"] in {port["name"] for port in ports}
    for missing, said in (
        ("flower.ingress.tlsSecret=", "in the clear"),
        ("networkPolicy.flowerFrom=null", "controller"),
    ):
        with pytest.raises(AssertionError, match=said):
            template(need, *VALUES["cloud"], "--set", missing)


def test_gc_runs_by_the_clock(need: Need) -> None:
    """One at a time, with the operator's keys, and with options that `respool gc` has."""
    job = one(template(need, *VALUES["plain"], "--set", "gc.enabled=true"), "CronJob", "r-gc")["spec"]
    assert job["concurrencyPolicy"] == "Forbid"
    (container,) = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["gc", "--delete", "--days=30", "--upload-hours=24"]
    with collector.make_context("gc", container["args"][1:], obj={"debug": False}) as context:
        assert context.params["delete"]
        assert (context.params["days"], context.params["upload_hours"], context.params["results"]) == (30, 24, False)
