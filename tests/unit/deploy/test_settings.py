"""The services accept what the manifests give them: flags, variables and keys of a rendered pod."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import yaml
from render_manifests import golden_file, overlays

from ottla_runtime.config import ServiceConfig, load
from ottla_runtime.config_sources import ConfigError
from ottla_runtime.listeners import parse_listeners
from unit.deploy.manifest_rules import Manifest, containers, of_kind

# What a service calls its listener when it is given by host and port.
LISTENERS = {"broker": "public", "controller": "controller"}
POD = {"NODE_ID": "1", "POD_NAME": "ottla-broker-1", "POD_NAMESPACE": "ottla"}
CONFIG = re.compile(r"--config=/etc/ottla/([\w.]+)")


def settings_class(service: str) -> type[ServiceConfig]:
    """The settings of `ottla <service>`."""
    classes = vars(importlib.import_module(f"ottla_{service}.config")).values()
    (found,) = [
        each
        for each in classes
        if isinstance(each, type) and issubclass(each, ServiceConfig) and each.service == service
    ]
    return found


def rendered_arguments(container: Manifest, *, files: Path) -> list[str]:
    """The flags as the kubelet would pass them, with the settings file where the test has it."""
    words = [re.sub(r"\$\((\w+)\)", lambda m: POD[m[1]], word) for word in container["args"]]
    return [CONFIG.sub(lambda m: f"--config={files / m[1]}", word) for word in words]


@pytest.fixture(params=overlays())
def pods(request: pytest.FixtureRequest, tmp_path: Path) -> list[Manifest]:
    """The containers of an overlay; its TOML files are in tmp_path."""
    manifests = list(yaml.safe_load_all(golden_file(request.param).read_text(encoding="utf-8")))
    for config_map in of_kind(manifests, "ConfigMap"):
        for name, text in config_map["data"].items():
            (tmp_path / name).write_text(text, encoding="utf-8")
    return [each for item in of_kind(manifests, "StatefulSet") for each in containers(item)]


def test_services_load_what_the_manifests_give_them(pods: list[Manifest], tmp_path: Path) -> None:
    assert {container["name"] for container in pods} == set(LISTENERS)
    for container in pods:
        assert container["command"] == ["ottla", container["name"]]
        config_class = settings_class(container["name"])
        arguments = rendered_arguments(container, files=tmp_path)
        loaded = load(config_class, arguments, POD | {"OTTLA_BROKER_PORT": "tcp://10.0.0.1:9092"})
        assert loaded.node_id == 1
        assert loaded.host == "0.0.0.0"
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert (loaded.port, loaded.health_port) == (ports["grpc"], ports["health"])
        name = f"{POD['POD_NAME']}.ottla-{container['name']}.ottla.svc"
        (endpoint,) = parse_listeners(loaded.advertised)
        assert endpoint.listener == LISTENERS[container["name"]]
        assert (endpoint.host, endpoint.port) == (name, ports["grpc"])


def test_service_refuses_a_flag_it_does_not_have(pods: list[Manifest], tmp_path: Path) -> None:
    for container in pods:
        config_class = settings_class(container["name"])
        arguments = [*rendered_arguments(container, files=tmp_path), "--no-such-flag=1"]
        with pytest.raises(ConfigError, match="no-such-flag"):
            load(config_class, arguments, {})
