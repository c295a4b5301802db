"""The Kubernetes manifests: valid, hardened, and about the bridge as it is.

KEDA_CRDS=DIR, a clone of kedacore/keda, compares KEDA's own kinds with their definitions.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from bridge import __version__
from bridge.contract import person
from bridge.contract.payloads import QUEUES, WEBHOOKS
from bridge.settings import variable

from .commands import parses, setting_names

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS: list[Any] = [
    each for name in KUSTOMIZATION["resources"] for each in yaml.safe_load_all((FOLDER / name).read_text())
]
PLAIN = [each for each in OBJECTS if not each["apiVersion"].startswith("keda.sh/")]
KEDAS = [each for each in OBJECTS if each["apiVersion"].startswith("keda.sh/")]
USER = 10001
#: Uvicorn, which serves the API, reads it itself.
UVICORNS = "FORWARDED_ALLOW_IPS"


def name(each: Any) -> str:
    return f"{each['kind']}-{each['metadata']['name']}"


def find(kind: str, wanted: str) -> Any:
    return next(each for each in OBJECTS if name(each) == f"{kind}-{wanted}")


def pods() -> Iterator[tuple[str, Any]]:
    """The pod of each workload."""
    for each in OBJECTS:
        if each["kind"] in ("Deployment", "Job"):
            yield name(each), each["spec"]["template"]
        elif each["kind"] == "CronJob":
            yield name(each), each["spec"]["jobTemplate"]["spec"]["template"]


each_pod = pytest.mark.parametrize("pod", [pod for _, pod in pods()], ids=[each for each, _ in pods()])


def test_each_file_is_a_resource() -> None:
    assert {file.name for file in FOLDER.glob("*.yaml")} - {"kustomization.yaml"} == set(KUSTOMIZATION["resources"])


@pytest.mark.parametrize("each", PLAIN, ids=map(name, PLAIN))
def test_object_is_valid(each: Any) -> None:
    kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)


@each_pod
def test_pod_has_no_rights(pod: Any) -> None:
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == USER
    # The secrets' files belong to this group.
    assert spec["securityContext"]["fsGroup"] == USER
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]


@each_pod
def test_pod_runs_a_command_of_the_bridge_with_its_settings(pod: Any) -> None:
    assert pod["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert pod["spec"]["serviceAccountName"] == find("ServiceAccount", "bridge")["metadata"]["name"]
    for container in pod["spec"]["containers"]:
        assert container["image"] == KUSTOMIZATION["images"][0]["name"]
        assert parses(container["args"])
        assert {each["name"] for each in container.get("env", [])} <= setting_names() | {UVICORNS}
        assert container["envFrom"] == [{"configMapRef": {"name": KUSTOMIZATION["configMapGenerator"][0]["name"]}}]


def test_settings_exist_in_the_bridge_and_no_secret_is_among_them() -> None:
    settings = dict(each.split("=", 1) for each in KUSTOMIZATION["configMapGenerator"][0]["literals"])
    assert settings.keys() <= setting_names()
    assert [each for each in settings if "KEY" in each or "DATABASE_URL" in each] == [
        "BRIDGE_ODOO_API_KEY_FILE",
        "BRIDGE_DATABASE_URL_FILE",
    ]


@each_pod
def test_secrets_are_files_where_the_settings_look_for_them(pod: Any) -> None:
    settings = dict(each.split("=", 1) for each in KUSTOMIZATION["configMapGenerator"][0]["literals"])
    files = [Path(value) for setting, value in settings.items() if setting.endswith("_FILE")]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
    assert {str(file.parent) for file in files} == {mounts["secrets"]}
    # What the comment in kustomization.yaml makes the secret of.
    asked = (FOLDER / "kustomization.yaml").read_text()
    assert [file.name for file in files if f"--from-file={file.name}=" not in asked] == []


def test_the_token_of_manychat_is_optional_and_the_bridges_only() -> None:
    """One variable, because a file that may be missing would be a wrong setting."""
    secret = {
        pod: [each for each in container.get("env", []) if "valueFrom" in each]
        for pod, spec in pods()
        for container in spec["spec"]["containers"]
    }
    reference = {"name": "manychat", "key": "api-token", "optional": True}
    token = {"name": variable("manychat_api_token"), "valueFrom": {"secretKeyRef": reference}}
    assert secret.pop("Deployment-bridge") == [token]
    assert not any(secret.values())
    asked = f"kubectl -n miasalud create secret generic {reference['name']} --from-file={reference['key']}=FILE"
    assert asked in (FOLDER / "kustomization.yaml").read_text()
    assert asked in (FOLDER.parents[1] / "docs" / "azure.md").read_text(encoding="utf-8")


def test_probes_ask_the_port_that_answers_them() -> None:
    for deployment, setting in (("bridge", "METRICS"), ("api", "API")):
        container = find("Deployment", deployment)["spec"]["template"]["spec"]["containers"][0]
        environment = {each["name"]: each.get("value") for each in container["env"]}
        port = container["ports"][0]
        assert environment[f"BRIDGE_{setting}_HOST"] == "0.0.0.0"
        assert environment[f"BRIDGE_{setting}_PORT"] == str(port["containerPort"])
        for probe in ("livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"] == {"path": "/health", "port": port["name"]}


def test_each_queue_with_events_has_a_trigger() -> None:
    triggers = find("ScaledObject", "bridge")["spec"]["triggers"]
    assert sorted(each["metadata"]["queueName"] for each in triggers) == sorted(QUEUES.values())
    assert {each["type"] for each in triggers} == {"azure-queue"}
    authentication = find("TriggerAuthentication", "queues")
    assert {each["authenticationRef"]["name"] for each in triggers} == {authentication["metadata"]["name"]}
    assert authentication["spec"]["podIdentity"]["provider"] == "azure-workload"


def test_scaling_has_one_bridge_at_least_and_no_second_master() -> None:
    scaled = find("ScaledObject", "bridge")["spec"]
    assert scaled["minReplicaCount"] == 1
    # A number in the deployment would set KEDA's back at each release.
    assert "replicas" not in find("Deployment", scaled["scaleTargetRef"]["name"])["spec"]


def test_only_webhooks_and_health_are_public() -> None:
    (rule,) = find("Ingress", "webhooks")["spec"]["rules"]
    paths = rule["http"]["paths"]
    assert {each["path"] for each in paths if each["pathType"] == "Exact"} == {
        *(each.route[1] for each in WEBHOOKS),
        "/health",
    }
    # What a bot asks has the person in its path.
    assert [each["path"] for each in paths if each["pathType"] == "Prefix"] == [person.PATH.rstrip("/")]
    assert find("Ingress", "webhooks")["spec"]["tls"]


def test_network_is_closed_where_nothing_opens_it() -> None:
    everything = find("NetworkPolicy", "all")["spec"]
    assert everything["podSelector"] == {}
    assert "ingress" not in everything
    assert set(everything["policyTypes"]) == {"Ingress", "Egress"}


def test_a_drained_node_leaves_one_of_each() -> None:
    for each in ("bridge", "api"):
        budget = find("PodDisruptionBudget", each)["spec"]
        labels = find("Deployment", each)["spec"]["template"]["metadata"]["labels"]
        assert budget["minAvailable"] == 1
        assert budget["selector"]["matchLabels"].items() <= labels.items()


def test_invalid_object_is_found() -> None:
    wrong = {**find("Service", "api"), "spec": {"ports": "none"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.skipif("KEDA_CRDS" not in os.environ, reason="KEDA_CRDS names no clone of kedacore/keda")
@pytest.mark.parametrize("each", KEDAS, ids=map(name, KEDAS))
def test_kedas_object_is_valid(each: Any) -> None:
    file = f"config/crd/bases/keda.sh_{each['kind'].lower()}s.yaml"
    text = subprocess.run(
        ["git", "-C", os.environ["KEDA_CRDS"], "show", f"HEAD:{file}"], check=True, capture_output=True, text=True
    ).stdout
    (version,) = yaml.safe_load(text)["spec"]["versions"]
    assert each["apiVersion"] == f"keda.sh/{version['name']}"
    jsonschema.validate(each, closed(version["schema"]["openAPIV3Schema"]))


def closed(schema: Any) -> Any:
    """A definition that refuses unknown fields. Kubernetes itself drops them without a word."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    more = {"additionalProperties": False} if schema.get("properties") and "additionalProperties" not in schema else {}
    return {key: closed(each) for key, each in schema.items()} | more


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_puts_them_together() -> None:
    text = subprocess.run(["kubectl", "kustomize", str(FOLDER)], check=True, capture_output=True, text=True).stdout
    built: list[Any] = list(yaml.safe_load_all(text))
    assert len(built) == len(OBJECTS) + 1
    for each in built:
        if each["kind"] != "Namespace":
            assert each["metadata"]["namespace"] == KUSTOMIZATION["namespace"]
        if not each["apiVersion"].startswith("keda.sh/"):
            kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)
    # A change of a setting gives the map another name, and so starts new pods.
    settings = next(each["metadata"]["name"] for each in built if each["kind"] == "ConfigMap")
    bridge = next(each for each in built if name(each) == "Deployment-bridge")["spec"]["template"]["spec"]
    assert bridge["containers"][0]["envFrom"] == [{"configMapRef": {"name": settings}}]
    image = KUSTOMIZATION["images"][0]
    assert bridge["containers"][0]["image"] == f"{image['newName']}:{image['newTag']}"


def test_release_is_this_version() -> None:
    assert KUSTOMIZATION["images"][0]["newTag"] == __version__
