"""The settings of a service: one frozen model, filled from flags, environment, file and defaults.

Owns `ServiceConfig` with what every service has, `load`, `show` and the generated reference. A
service subclasses the model, names itself in `service`, and declares its own settings with
`settings.setting`. Dynamic values altered while a service runs live in the cluster's metadata.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo

from ottla_runtime.config_sources import (
    ConfigError,
    Names,
    from_environment,
    from_file,
    from_flags,
)
from ottla_runtime.settings import (
    Given,
    ShownSetting,
    Source,
    flag_name,
    is_dynamic,
    is_secret,
    is_setting_field,
    setting,
    setting_name,
    variable_name,
)

_NODE_ID_MAX = 2**32 - 1
_PORT_MAX = 65_535
_HOUR_MS = 3_600_000

_Config = TypeVar("_Config", bound="ServiceConfig")


class ServiceConfig(BaseModel):
    """Settings that every service has; immutable once loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    service: ClassVar[str] = ""
    """Names the service in variables and logs: `broker`, `controller`."""

    config: Path | None = setting(None, description="TOML file with settings.")
    node_id: int = setting(
        ge=1, le=_NODE_ID_MAX, description="Identity of this node, unique in its kind of service."
    )
    host: str = setting(
        "127.0.0.1", min_length=1, max_length=253, description="Address the service listens on."
    )
    port: int = setting(
        0, ge=0, le=_PORT_MAX, description="Port the service listens on; 0 takes any free one."
    )
    listener: tuple[str, ...] = setting(
        (),
        max_length=16,
        description="Listeners as name=host:port[,tls], in place of host and port.",
    )
    advertised: tuple[str, ...] = setting(
        (),
        max_length=16,
        description="Where others reach a listener, as name=host:port, if not where it stands.",
    )
    health_host: str = setting(
        "127.0.0.1", min_length=1, max_length=253, description="Address of the health port."
    )
    health_port: int = setting(
        9095,
        ge=0,
        le=_PORT_MAX,
        description="Plaintext port that serves gRPC health checks alone; 0 takes any free one.",
    )
    drain_timeout_ms: int = setting(
        30_000,
        ge=0,
        le=_HOUR_MS,
        description="Longest orderly end after SIGTERM before the remaining work is cancelled.",
    )
    open_files_min: int = setting(
        4_096,
        ge=64,
        le=2**31 - 1,
        description="Open files the process needs; its limit is raised to it, or it won't start.",
    )
    event_loop_lag_max_ms: int = setting(
        1_000, ge=10, le=60_000, description="Event loop lag from which a warning is logged."
    )
    log_level: typing.Literal["debug", "info", "warning", "error"] = setting(
        "info", description="Least severe log lines that are written."
    )
    access_log: typing.Literal["all", "failed", "none"] = setting(
        "all", description="Which calls leave their line in the log."
    )
    ready_fd: int | None = setting(
        None,
        ge=3,
        le=2**20,
        description="Inherited pipe that gets a JSON line once the service is ready to serve.",
    )
    die_with_parent: bool = setting(
        False, description="Whether the process ends when the process that started it does."
    )
    parent_process_id: int | None = setting(
        None,
        ge=1,
        le=2**31 - 1,
        description="The process to die with; one that ended before this one looked is noticed.",
    )

    _given: Mapping[str, Given] = PrivateAttr(default_factory=dict)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Holds every field to the rule of names and to a description."""
        super().__pydantic_init_subclass__(**kwargs)
        if not cls.service:
            raise TypeError(f"{cls.__name__} does not name its service")
        for name, field in cls.model_fields.items():
            if not is_setting_field(name):
                raise TypeError(f"{cls.__name__}.{name}: words of a setting have one _ between")
            if not field.description or not field.description.endswith("."):
                raise TypeError(f"{cls.__name__}.{name} has no description, which is a sentence")

    @field_validator("*", mode="before")
    @classmethod
    def _check_paths(cls, value: object, info: ValidationInfo) -> object:
        """An empty path would quietly mean the directory that the service is started in."""
        if info.field_name is not None and _is_path(cls.model_fields[info.field_name]):
            for each in value if isinstance(value, tuple | list) else (value,):
                if isinstance(each, str) and (not each.strip() or "\0" in each):
                    raise ValueError("a path has at least one character, and none that is NUL")
        return value

    def show(self) -> list[ShownSetting]:
        """Every setting with its value and where it comes from, by name; secrets stay hidden."""
        return [self._shown(name) for name in sorted(type(self).model_fields)]

    def _shown(self, name: str) -> ShownSetting:
        field = type(self).model_fields[name]
        given = self._given.get(name)
        return ShownSetting(
            name=setting_name(name),
            value=_shown_value(getattr(self, name), secret=is_secret(field.json_schema_extra)),
            source=given.source if given else Source.DEFAULT,
            place=given.place if given else "",
            dynamic=is_dynamic(field.json_schema_extra),
            description=field.description or "",
        )

    def with_given(self, given: Mapping[str, Given]) -> Self:
        """The same settings, remembering where they come from."""
        self._given = dict(given)
        return self


def load(
    config_class: type[_Config], arguments: Sequence[str], environ: Mapping[str, str]
) -> _Config:
    """The settings of a service: flag before environment variable before file before default.

    Args:
        config_class: the service's model.
        arguments: the command line without the program.
        environ: the environment; only variables under `OTTLA_<SERVICE>__` are looked at.

    Raises:
        ConfigError: something given is unknown, of the wrong type or out of bounds; the message
            names the place and what is allowed.
    """
    names = names_of(config_class)
    flags = from_flags(names, arguments)
    variables = from_environment(names, environ)
    place = flags.get("config") or variables.get("config")
    file = from_file(names, Path(str(place.value))) if place else {}
    if "config" in file:
        raise ConfigError(["a settings file cannot name another with config"])
    given = {**file, **variables, **flags}
    try:
        loaded = config_class.model_validate({name: each.value for name, each in given.items()})
    except ValidationError as error:
        problems = [_problem(config_class, given, dict(each)) for each in error.errors()]
        raise ConfigError(problems) from None
    return loaded.with_given(given)


def names_of(config_class: type[ServiceConfig]) -> Names:
    """The fields of a service by what the sources have to know of them."""
    fields = config_class.model_fields
    return Names(
        service=config_class.service,
        fields=list(fields),
        booleans=[name for name, field in fields.items() if field.annotation is bool],
        lists=[name for name, field in fields.items() if _is_list(field)],
        secrets=[name for name, field in fields.items() if is_secret(field.json_schema_extra)],
    )


def _is_list(field: FieldInfo) -> bool:
    return typing.get_origin(field.annotation) in {tuple, list}


def _is_path(field: FieldInfo) -> bool:
    return Path in {field.annotation, *typing.get_args(field.annotation)}


def _problem(
    config_class: type[ServiceConfig], given: Mapping[str, Given], error: Mapping[str, Any]
) -> str:
    location = error["loc"]
    if not location:  # a relation between settings, checked by the model as a whole
        return str(error["msg"]).removeprefix("Value error, ")
    name = str(location[0])
    variable = variable_name(config_class.service, name)
    if error["type"] == "missing":
        return f"{setting_name(name)} is not set; give {flag_name(name)} or {variable}"
    place = given[name].place if name in given else setting_name(name)
    message = str(error["msg"]).removeprefix("Value error, ")
    hidden = is_secret(config_class.model_fields[name].json_schema_extra)
    shown = "" if hidden else f" {error['input']!r:.80}"
    return f"{place}{shown}: {message[:1].lower()}{message[1:]}"


def _shown_value(value: object, *, secret: bool) -> str:
    if value is None:
        return ""
    if secret:
        return "<hidden>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value)
