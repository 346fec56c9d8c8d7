"""What must hold between rendered manifests and no schema can say.

Each rule takes all manifests of an overlay and yields what breaks it. The tests apply them to every
overlay, and to copies in which one thing was broken on purpose.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Manifest = dict[str, Any]
Manifests = Sequence[Manifest]

WORKLOADS = {"StatefulSet", "Deployment", "DaemonSet", "Job"}
PROBES = {"startupProbe": "startup", "readinessProbe": "ready", "livenessProbe": "live"}
RESTRICTED_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
QUANTITY = re.compile(r"[1-9]\d*(m|[KMGT]i)?")


def of_kind(manifests: Manifests, *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def containers(workload: Manifest) -> list[Manifest]:
    spec = workload["spec"]["template"]["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def selected(manifests: Manifests, labels: Mapping[str, str]) -> list[Manifest]:
    """Workloads whose pods carry all these labels."""
    return [
        workload
        for workload in of_kind(manifests, *WORKLOADS)
        if labels.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
    ]


def selectors_match(manifests: Manifests) -> Iterator[str]:
    """Each selector finds exactly the workload it is meant for, which shares its component."""
    for manifest in of_kind(manifests, "Service", "PodDisruptionBudget", *WORKLOADS):
        spec = manifest["spec"]
        selector = (
            spec["selector"] if manifest["kind"] == "Service" else spec["selector"]["matchLabels"]
        )
        found = selected(manifests, selector)
        if len(found) != 1:
            yield f"{named(manifest)} selects {len(found)} workloads"
        elif manifest["kind"] in WORKLOADS and found[0] is not manifest:
            yield f"{named(manifest)} selects the pods of {named(found[0])}"
    for policy in of_kind(manifests, "NetworkPolicy"):
        for labels in policy_selectors(policy):
            if not selected(manifests, labels):
                yield f"{named(policy)} selects no pods by {labels}"


def policy_selectors(policy: Manifest) -> Iterator[Mapping[str, str]]:
    spec = policy["spec"]
    yield spec["podSelector"].get("matchLabels", {})
    for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
        for peer in [*rule.get("from", []), *rule.get("to", [])]:
            if "podSelector" in peer:
                yield peer["podSelector"]["matchLabels"]


def ports_exist(manifests: Manifests) -> Iterator[str]:
    """Named ports exist in the pods they stand for; ports are named and stand once."""
    for service in of_kind(manifests, "Service"):
        for workload in selected(manifests, service["spec"]["selector"]):
            names = {port["name"]: port["containerPort"] for port in all_ports(workload)}
            for port in service["spec"]["ports"]:
                if port["targetPort"] not in names:
                    yield f"{named(service)} targets the unknown port {port['targetPort']}"
                elif names[port["targetPort"]] != port["port"]:
                    yield f"{named(service)} serves {port['port']} for {names[port['targetPort']]}"
    for policy in of_kind(manifests, "NetworkPolicy"):
        for workload in selected(manifests, policy["spec"]["podSelector"].get("matchLabels", {})):
            names = {port["name"]: port["containerPort"] for port in all_ports(workload)}
            for rule in policy["spec"].get("ingress", []):
                for port in rule["ports"]:
                    if port["port"] not in names:
                        yield f"{named(policy)} lets in the unknown port {port['port']}"


def egress_reaches_ingress(manifests: Manifests) -> Iterator[str]:
    """What may go out to pods of ours is a port those pods have."""
    for policy in of_kind(manifests, "NetworkPolicy"):
        for rule in policy["spec"].get("egress", []):
            peers = [
                peer["podSelector"]["matchLabels"] for peer in rule["to"] if "podSelector" in peer
            ]
            for labels in peers:
                for workload in selected(manifests, labels):
                    numbers = {port["containerPort"] for port in all_ports(workload)}
                    wrong = [port["port"] for port in rule["ports"] if port["port"] not in numbers]
                    yield from (
                        f"{named(policy)} opens {port} to {named(workload)}" for port in wrong
                    )


def all_ports(workload: Manifest) -> list[Manifest]:
    return [port for container in containers(workload) for port in container.get("ports", [])]


def volumes_exist(manifests: Manifests) -> Iterator[str]:
    """Every mount has its volume and every volume its mount, ConfigMap or Secret."""
    objects = {(item["kind"], item["metadata"]["name"]) for item in manifests}
    for workload in of_kind(manifests, *WORKLOADS):
        spec = workload["spec"]["template"]["spec"]
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        volumes |= {
            claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])
        }
        mounts = {
            mount["name"]
            for container in containers(workload)
            for mount in container["volumeMounts"]
        }
        for name in volumes ^ mounts:
            yield f"{named(workload)}: volume {name} is mounted or declared, not both"
        for volume in spec.get("volumes", []):
            for kind, field, key in (
                ("ConfigMap", "configMap", "name"),
                ("Secret", "secret", "secretName"),
            ):
                if field in volume and (kind, volume[field][key]) not in objects:
                    yield f"{named(workload)}: {kind} {volume[field][key]} does not exist"
        if spec["serviceAccountName"] not in {
            name for kind, name in objects if kind == "ServiceAccount"
        }:
            yield f"{named(workload)}: no account {spec['serviceAccountName']}"


def pods_are_restricted(manifests: Manifests) -> Iterator[str]:
    """Pod Security "restricted" and a little more, for every container."""
    for workload in of_kind(manifests, *WORKLOADS):
        spec = workload["spec"]["template"]["spec"]
        security = spec.get("securityContext", {})
        if security.get("runAsNonRoot") is not True or security.get("runAsUser") != 10001:
            yield f"{named(workload)} may run as root"
        if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{named(workload)} has no seccomp profile"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{named(workload)} mounts a token"
        if spec.get("enableServiceLinks") is not False:
            yield f"{named(workload)} gets service links, which look like settings"
        if any(spec.get(field) for field in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{named(workload)} shares a namespace with its host"
        for container in containers(workload):
            if container.get("securityContext") != RESTRICTED_CONTAINER:
                yield f"{named(workload)}: container {container['name']} is not restricted"
    for namespace in of_kind(manifests, "Namespace"):
        if (
            namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce")
            != "restricted"
        ):
            yield f"{named(namespace)} does not enforce the restricted profile"


def probes_ask_the_health_port(manifests: Manifests) -> Iterator[str]:
    """Three native gRPC probes by name, on the plaintext health port of the pod's settings."""
    for workload in of_kind(manifests, *WORKLOADS):
        settings = settings_of(manifests, workload)
        for container in containers(workload):
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            if ports.get("health") != settings["health_port"]:
                yield f"{named(workload)}: health port is not the one of the settings"
            if ports.get("grpc") != settings["port"]:
                yield f"{named(workload)}: grpc port is not the one of the settings"
            for probe, service in PROBES.items():
                if container.get(probe, {}).get("grpc") != {
                    "port": ports["health"],
                    "service": service,
                }:
                    yield f"{named(workload)}: {probe} does not ask {service} on the health port"


def grace_exceeds_drain(manifests: Manifests) -> Iterator[str]:
    """The grace period is longer than preStop and the service's own drain together."""
    for workload in of_kind(manifests, *WORKLOADS):
        spec = workload["spec"]["template"]["spec"]
        drain = settings_of(manifests, workload)["drain_timeout_ms"] / 1000
        before = max(container_pre_stop(container) for container in containers(workload))
        if spec["terminationGracePeriodSeconds"] < before + drain + 5:
            yield f"{named(workload)}: grace period below preStop {before} s and drain {drain} s"


def container_pre_stop(container: Manifest) -> int:
    """Seconds of the preStop hook, which has to be one with a bound."""
    hook = container.get("lifecycle", {}).get("preStop")
    return hook["sleep"]["seconds"] if hook else 0


def resources_are_sane(manifests: Manifests) -> Iterator[str]:
    """Memory is reserved in full, the CPU never limited, and quantities are whole units."""
    for workload in of_kind(manifests, *WORKLOADS):
        for container in containers(workload):
            requests, limits = container["resources"]["requests"], container["resources"]["limits"]
            if requests["memory"] != limits["memory"]:
                yield f"{named(workload)}: memory request is not the limit"
            if "cpu" in limits:
                yield f"{named(workload)}: the CPU is limited"
            for quantity in [*requests.values(), *limits.values()]:
                if not QUANTITY.fullmatch(quantity):
                    yield f"{named(workload)}: odd quantity {quantity}"
        if of_kind([workload], "StatefulSet"):
            budgets = of_kind(manifests, "PodDisruptionBudget")
            labels = workload["spec"]["template"]["metadata"]["labels"]
            mine = [
                b for b in budgets if b["spec"]["selector"]["matchLabels"].items() <= labels.items()
            ]
            if [budget["spec"].get("maxUnavailable") for budget in mine] != [1]:
                yield f"{named(workload)} has not one budget of one pod"


def stateful_sets_have_their_names(manifests: Manifests) -> Iterator[str]:
    """The serviceName is a headless service over these very pods that publishes unready ones."""
    services = {service["metadata"]["name"]: service for service in of_kind(manifests, "Service")}
    for workload in of_kind(manifests, "StatefulSet"):
        service = services.get(workload["spec"]["serviceName"])
        if service is None or service["spec"].get("clusterIP") != "None":
            yield f"{named(workload)} has no headless service"
        elif selected(manifests, service["spec"]["selector"]) != [workload]:
            yield f"{named(workload)}: its service is of other pods"
        elif service["spec"].get("publishNotReadyAddresses") is not True:
            yield f"{named(service)} hides pods that are not ready"
        if workload["spec"]["podManagementPolicy"] != "Parallel":
            yield f"{named(workload)} starts its pods one by one"


def addresses_exist(manifests: Manifests) -> Iterator[str]:
    """Host names in flags and settings are services here, with a port that they have."""
    services = {item["metadata"]["name"]: item["spec"] for item in of_kind(manifests, "Service")}
    for workload in of_kind(manifests, *WORKLOADS):
        texts = [word for container in containers(workload) for word in container["args"]]
        texts += [str(value) for value in settings_of(manifests, workload).values()]
        for host, port in re.findall(
            r"(?:\)\.|\b)(ottla-[a-z-]+)(?:\.[^:']*)?:(\d+)", " ".join(texts)
        ):
            if host not in services:
                yield f"{named(workload)} dials the unknown {host}"
            elif int(port) not in {entry["port"] for entry in services[host]["ports"]}:
                yield f"{named(workload)} dials {host} at the wrong port {port}"


def variables_are_defined(manifests: Manifests) -> Iterator[str]:
    """A `$(NAME)` in a flag is a variable of its container; one that is not stays as it is."""
    for workload in of_kind(manifests, *WORKLOADS):
        for container in containers(workload):
            known = {variable["name"] for variable in container.get("env", [])}
            used = set(re.findall(r"\$\((\w+)\)", " ".join(container["args"])))
            for name in used ^ known:
                yield f"{named(workload)}: variable {name} is used or defined, not both"


def node_ids_start_at_one(manifests: Manifests) -> Iterator[str]:
    """The node id is the pod's ordinal, and 0 is no node id."""
    for workload in of_kind(manifests, "StatefulSet"):
        if workload["spec"].get("ordinals") != {"start": 1}:
            yield f"{named(workload)}: ordinals start at 0"
        for container in containers(workload):
            sources = {each["name"]: each["valueFrom"] for each in container["env"]}
            path = "metadata.labels['apps.kubernetes.io/pod-index']"
            if sources.get("NODE_ID") != {"fieldRef": {"fieldPath": path}}:
                yield f"{named(workload)}: the node id is not the ordinal"


def settings_of(manifests: Manifests, workload: Manifest) -> Mapping[str, Any]:
    """The TOML settings that the rendered workload mounts and names with --config."""
    maps = {item["metadata"]["name"]: item["data"] for item in of_kind(manifests, "ConfigMap")}
    (name,) = [
        volume["configMap"]["name"]
        for volume in workload["spec"]["template"]["spec"]["volumes"]
        if "configMap" in volume and volume["configMap"]["name"] in maps
    ] or [""]
    if not name:
        return {"health_port": None, "port": None, "drain_timeout_ms": 0}
    ((file_name, text),) = maps[name].items()
    flags = containers(workload)[0]["args"]
    assert f"--config=/etc/ottla/{file_name}" in flags, flags
    return tomllib.loads(text)


RULES = (
    addresses_exist,
    egress_reaches_ingress,
    grace_exceeds_drain,
    node_ids_start_at_one,
    pods_are_restricted,
    ports_exist,
    probes_ask_the_health_port,
    resources_are_sane,
    selectors_match,
    stateful_sets_have_their_names,
    variables_are_defined,
    volumes_exist,
)


def broken(manifests: Manifests) -> list[str]:
    """Everything that breaks a rule."""
    return [line for rule in RULES for line in rule(manifests)]
