"""Rendered manifests: as reviewed, valid at both ends of the versions, and whole in themselves.

Levels 0 to 2 of deploy/k8s/README.md: golden files, schemas, and rules between manifests, each
shown to find what is broken on purpose.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest
import yaml
from render_manifests import golden_file, overlays, render

from unit.deploy.manifest_rules import Manifest, broken, containers, of_kind

OLDEST, NEWEST = "1.32", "1.37"
BROKER, CONTROLLER = "ottla-broker", "ottla-controller"


@pytest.fixture(scope="module", params=overlays())
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def manifests(overlay: str) -> list[Manifest]:
    return list(yaml.safe_load_all(golden_file(overlay).read_text(encoding="utf-8")))


def test_overlay_renders_to_its_golden_file(overlay: str) -> None:
    assert render(overlay) == golden_file(overlay).read_text(encoding="utf-8")


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_manifests_are_valid_for_the_version(manifests: list[Manifest], version: str) -> None:
    for manifest in manifests:
        assert kubernetes_validate.validate(manifest, version, strict=True) == version


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_unknown_field_is_invalid(manifests: list[Manifest], version: str) -> None:
    stateful_set = copy.deepcopy(of_kind(manifests, "StatefulSet")[0])
    stateful_set["spec"]["replica"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(stateful_set, version, strict=True)


def test_manifests_keep_every_rule(manifests: list[Manifest]) -> None:
    assert broken(manifests) == []


def test_single_node_is_one_broker_and_one_controller_with_its_store() -> None:
    loaded = list(yaml.safe_load_all(golden_file("single-node").read_text(encoding="utf-8")))
    sets = {item["metadata"]["name"]: item["spec"] for item in of_kind(loaded, "StatefulSet")}
    assert {name: spec["replicas"] for name, spec in sets.items()} == {BROKER: 1, CONTROLLER: 1}
    claims = {
        name: [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]]
        for name, spec in sets.items()
    }
    assert claims == {BROKER: ["data"], CONTROLLER: ["data"]}
    for spec in sets.values():
        assert spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    assert of_kind(loaded, "Secret") == []


class Broken:
    """A copy of an overlay in which one thing is to be broken."""

    def __init__(self, manifests: list[Manifest]) -> None:
        self.manifests = copy.deepcopy(manifests)

    def find(self, kind: str, name: str) -> Manifest:
        (found,) = [
            item for item in of_kind(self.manifests, kind) if item["metadata"]["name"] == name
        ]
        return found

    def set(self, name: str = BROKER) -> Any:
        return self.find("StatefulSet", name)["spec"]

    def pod(self) -> Any:
        return self.set()["template"]["spec"]

    def container(self) -> Any:
        return containers(self.find("StatefulSet", BROKER))[0]

    def service(self, name: str = BROKER) -> Any:
        return self.find("Service", name)["spec"]

    def replace_setting(self, before: str, after: str) -> None:
        for item in of_kind(self.manifests, "ConfigMap"):
            for key, text in item["data"].items():
                item["data"][key] = text.replace(before, after)


BREAKS: dict[str, Callable[[Broken], Any]] = {
    "selects 0 workloads": lambda b: b.service().update(selector={"app": "other"}),
    "selects 2 workloads": lambda b: b.service().update(
        selector={"app.kubernetes.io/name": "ottla"}
    ),
    "selects no pods by": lambda b: b.find("NetworkPolicy", "ottla-broker")["spec"].update(
        podSelector={"matchLabels": {"app.kubernetes.io/component": "brokr"}}
    ),
    "targets the unknown port": lambda b: b.service()["ports"][0].update(targetPort="grcp"),
    "lets in the unknown port": lambda b: b.find("NetworkPolicy", "ottla-broker")["spec"][
        "ingress"
    ][0]["ports"][0].update(port="http"),
    "opens 9099 to": lambda b: b.find("NetworkPolicy", "ottla-broker")["spec"]["egress"][0][
        "ports"
    ][0].update(port=9099),
    "is mounted or declared": lambda b: b.container()["volumeMounts"].pop(),
    "ConfigMap nothing does not exist": lambda b: b.pod()["volumes"].append(
        {"name": "more", "configMap": {"name": "nothing"}}
    ),
    "no account": lambda b: b.pod().update(serviceAccountName="default"),
    "may run as root": lambda b: b.pod()["securityContext"].pop("runAsNonRoot"),
    "no seccomp profile": lambda b: b.pod()["securityContext"].pop("seccompProfile"),
    "mounts a token": lambda b: b.pod().pop("automountServiceAccountToken"),
    "gets service links": lambda b: b.pod().pop("enableServiceLinks"),
    "shares a namespace": lambda b: b.pod().update(hostNetwork=True),
    "is not restricted": lambda b: b.container()["securityContext"].update(
        readOnlyRootFilesystem=False
    ),
    "does not enforce": lambda b: of_kind(b.manifests, "Namespace")[0]["metadata"][
        "labels"
    ].clear(),
    "readinessProbe does not ask ready": lambda b: b.container()["readinessProbe"]["grpc"].update(
        service="live"
    ),
    "livenessProbe does not ask live": lambda b: b.container().pop("livenessProbe"),
    "health port is not": lambda b: b.replace_setting("health_port = 9095", "health_port = 9096"),
    "grpc port is not": lambda b: b.replace_setting("\nport = 9092", "\nport = 9091"),
    "grace period below": lambda b: b.pod().update(terminationGracePeriodSeconds=30),
    "memory request is not the limit": lambda b: b.container()["resources"]["limits"].update(
        memory="3Gi"
    ),
    "the CPU is limited": lambda b: b.container()["resources"]["limits"].update(cpu="1"),
    "odd quantity": lambda b: b.container()["resources"]["requests"].update(cpu="0.25"),
    "has not one budget": lambda b: b.find("PodDisruptionBudget", BROKER)["spec"].update(
        maxUnavailable=2
    ),
    "has no headless service": lambda b: b.service().pop("clusterIP"),
    "hides pods that are not ready": lambda b: b.service().pop("publishNotReadyAddresses"),
    "starts its pods one by one": lambda b: b.set().update(podManagementPolicy="OrderedReady"),
    "dials the unknown ottla-control": lambda b: b.replace_setting(
        "ottla-controller:9093", "ottla-control:9093"
    ),
    "at the wrong port 9092": lambda b: b.replace_setting(
        "ottla-controller:9093", "ottla-controller:9092"
    ),
    "variable POD_NAME is used": lambda b: b.container()["env"].pop(1),
    "ordinals start at 0": lambda b: b.set().pop("ordinals"),
    "the node id is not the ordinal": lambda b: b.container()["env"][0].update(
        valueFrom={"fieldRef": {"fieldPath": "metadata.name"}}
    ),
}


@pytest.mark.parametrize("finding", BREAKS)
def test_broken_manifest_is_found(manifests: list[Manifest], finding: str) -> None:
    copied = Broken(manifests)
    BREAKS[finding](copied)
    assert [line for line in broken(copied.manifests) if finding in line] != []
