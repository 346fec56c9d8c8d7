"""What a process was started with, as entries of DescribeConfigs.

Owns the translation of settings: source, type, and that secrets are never told. Pure.
"""

from __future__ import annotations

import typing
from types import NoneType, UnionType
from typing import Final

from ottla.api.admin.v1 import admin_pb2
from ottla_runtime.config import ServiceConfig
from ottla_runtime.settings import ShownSetting, field_name, is_secret

_TYPES: Final = {
    bool: admin_pb2.CONFIG_TYPE_BOOLEAN,
    int: admin_pb2.CONFIG_TYPE_INTEGER,
    float: admin_pb2.CONFIG_TYPE_NUMBER,
}


def static_entries(config: ServiceConfig) -> list[admin_pb2.ConfigEntry]:
    """Every setting of the process by name, from what it was started with or by default."""
    return [_entry(config, shown) for shown in config.show()]


def _entry(config: ServiceConfig, shown: ShownSetting) -> admin_pb2.ConfigEntry:
    name = field_name(shown.name)
    field = type(config).model_fields[name]
    secret = is_secret(field.json_schema_extra)
    was_given = name in config.model_fields_set
    return admin_pb2.ConfigEntry(
        name=shown.name,
        value="" if secret else shown.value,
        source=admin_pb2.CONFIG_SOURCE_STATIC if was_given else admin_pb2.CONFIG_SOURCE_DEFAULT,
        type=_type(field.annotation),
        documentation=shown.description,
        sensitive=secret,
        dynamic=shown.dynamic,
    )


def _type(annotation: object) -> admin_pb2.ConfigType.ValueType:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in {UnionType, typing.Union}:
        return _type(next(each for each in arguments if each is not NoneType))
    if origin in {tuple, list}:
        return admin_pb2.CONFIG_TYPE_LIST
    found = _TYPES.get(typing.cast("type", annotation))
    return admin_pb2.CONFIG_TYPE_STRING if found is None else found
