"""Settings: which source wins, what is refused, what is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import model_validator

from ottla_runtime.config import ServiceConfig, load
from ottla_runtime.config_output import as_help, as_json, as_reference, as_table
from ottla_runtime.config_sources import ConfigError
from ottla_runtime.settings import (
    Source,
    field_name,
    flag_name,
    setting,
    setting_name,
    variable_name,
)


class PostOfficeConfig(ServiceConfig):
    service: ClassVar[str] = "post-office"

    retention_ms: int = setting(
        604_800_000, ge=-1, le=10**15, description="How long letters are kept.", dynamic=True
    )
    heartbeat_interval_ms: int = setting(3_000, ge=1, le=60_000, description="Time between beats.")
    session_timeout_ms: int = setting(10_000, ge=1, le=60_000, description="Silence that fences.")
    log_dirs: tuple[str, ...] = setting((), max_length=4, description="Where letters lie.")
    stamp_key: str = setting("", max_length=64, description="Signs stamps.", secret=True)
    strict: bool = setting(True, description="Whether stamps are looked at.")

    @model_validator(mode="after")
    def _beats_within_session(self) -> PostOfficeConfig:
        if self.heartbeat_interval_ms >= self.session_timeout_ms:
            raise ValueError("heartbeat.interval.ms has to be below session.timeout.ms")
        return self


P = "OTTLA_POST_OFFICE__"
NODE = ["--node-id", "1"]


def _load(
    *flags: str, environ: dict[str, str] | None = None, node: bool = True
) -> PostOfficeConfig:
    return load(PostOfficeConfig, [*(NODE if node else []), *flags], environ or {})


def _toml(folder: Path, text: str) -> str:
    path = folder / "settings.toml"
    path.write_text(text)
    return str(path)


def test_flag_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    path = _toml(tmp_path, "retention.ms = 1\nsession_timeout_ms = 20\nheartbeat_interval_ms = 1")
    loaded = _load(
        f"--config={path}",
        "--retention-ms=3",
        environ={f"{P}RETENTION_MS": "2", f"{P}SESSION_TIMEOUT_MS": "30"},
    )
    assert (loaded.retention_ms, loaded.session_timeout_ms, loaded.heartbeat_interval_ms) == (
        3,
        30,
        1,
    )
    sources = {each.name: (each.source, each.place) for each in loaded.show()}
    assert sources["retention.ms"] == (Source.FLAG, "--retention-ms")
    assert sources["session.timeout.ms"] == (Source.ENVIRONMENT, f"{P}SESSION_TIMEOUT_MS")
    assert sources["heartbeat.interval.ms"] == (
        Source.FILE,
        f"heartbeat_interval_ms in {path}",
    )
    assert sources["strict"] == (Source.DEFAULT, "")


@pytest.mark.parametrize("field", sorted(PostOfficeConfig.model_fields))
def test_every_name_leads_back_to_its_field(field: str) -> None:
    variable = variable_name("post-office", field)
    forms = [setting_name(field), flag_name(field).removeprefix("--"), variable.removeprefix(P)]
    assert [field_name(form) for form in forms] == [field] * 3


@pytest.mark.parametrize("key", ["retention_ms", "retention.ms", '"retention.ms"'])
def test_file_takes_every_form_of_a_name(tmp_path: Path, key: str) -> None:
    assert _load(f"--config={_toml(tmp_path, f'{key} = 77')}").retention_ms == 77


def test_the_file_can_be_named_by_a_variable(tmp_path: Path) -> None:
    path = _toml(tmp_path, "[retention]\nms = 5")
    assert _load(environ={f"{P}CONFIG": path}).retention_ms == 5


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--strict"], True),
        (["--no-strict"], False),
        (["--strict=false"], False),
        ([], True),
    ],
)
def test_booleans_need_no_value(flags: list[str], expected: bool) -> None:
    assert _load(*flags).strict is expected


def test_lists_come_from_repeated_flags_commas_and_arrays(tmp_path: Path) -> None:
    path = _toml(tmp_path, 'log.dirs = ["/a", "/b"]')
    assert _load("--log-dirs", "/a", "--log-dirs=/b").log_dirs == ("/a", "/b")
    assert _load(environ={f"{P}LOG_DIRS": "/a, /b"}).log_dirs == ("/a", "/b")
    assert _load(f"--config={path}").log_dirs == ("/a", "/b")


def test_secret_comes_from_a_file_and_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2\n")
    file = _toml(tmp_path, f"stamp_key_file = '{tmp_path}/key'")
    for loaded in (
        _load(environ={f"{P}STAMP_KEY_FILE": f"{tmp_path}/key"}),
        _load(f"--stamp-key-file={tmp_path}/key"),
        _load(f"--config={file}"),
    ):
        assert loaded.stamp_key == "hunter2"
        shown = {each.name: each.value for each in loaded.show()}
        assert shown["stamp.key"] == "<hidden>"
        assert "hunter2" not in repr(loaded) + as_table(loaded.show()) + as_json("x", loaded.show())


def test_secret_that_is_too_long_is_not_told() -> None:
    with pytest.raises(ConfigError) as caught:
        _load(environ={f"{P}STAMP_KEY": "hunter2" * 20})
    assert "hunter2" not in str(caught.value)
    assert f"{P}STAMP_KEY" in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "environ", "problem"),
    [
        (
            ["--retention-m", "1"],
            {},
            "unknown setting --retention-m; the nearest is",
        ),
        ([], {f"{P}RETENTON_MS": "1"}, f"the nearest is {P}RETENTION_MS"),
        ([], {f"{P}retention_ms": "1"}, f"the nearest is {P}RETENTION_MS"),
        ([], {f"{P}RETENTION_MS_FILE": "x"}, "unknown setting"),
        (["--retention-ms"], {}, "--retention-ms needs a value"),
        (["--retention-ms=1", "--retention-ms=2"], {}, "--retention-ms is given twice"),
        (["retention"], {}, "'retention' is not a flag"),
        (["--no-strict=1"], {}, "--no-strict takes no value"),
        (["--retention-ms", "soon"], {}, "--retention-ms 'soon': input should be a valid integer"),
        (
            [],
            {f"{P}PORT": "70000"},
            f"{P}PORT '70000': input should be less than",
        ),
        (["--node-id=0"], {}, "--node-id"),
        (["--session-timeout-ms=10"], {}, "heartbeat.interval.ms has to be below session"),
        (["--log-level=loud"], {}, "input should be 'debug', 'info', 'warning' or 'error'"),
        (["--stamp-key-file=/does/not/exist"], {}, "cannot be read: No such file"),
        (["--config=/does/not/exist"], {}, "settings file /does/not/exist cannot be read"),
        (
            [],
            {f"{P}STAMP_KEY": "a", f"{P}STAMP_KEY_FILE": "b"},
            "give the same setting",
        ),
    ],
)
def test_what_cannot_be_right_is_refused(
    flags: list[str], environ: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(*flags, environ=environ, node="--node-id=0" not in flags)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("retention_mss = 1", "the nearest is retention.ms"),
        ("x = [", "is not valid TOML"),
        ('config = "other.toml"', "cannot name another"),
        ("retention.ms = 1\n[post]\noffice = 2", "unknown setting post.office"),
        ('retention_ms = 1\n"retention.ms" = 2', "give the same setting"),
        ("retention_ms = [1]", "input should be a valid integer"),
    ],
)
def test_bad_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(f"--config={_toml(tmp_path, text)}")
    assert problem in str(caught.value)


def test_file_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (1024 * 1024 + 1))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="larger than 1048576 bytes"):
        _load(f"--config={large}")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        _load(f"--config={binary}")


def test_missing_setting_names_flag_and_variable() -> None:
    with pytest.raises(ConfigError) as caught:
        _load(node=False)
    assert str(caught.value) == f"node.id is not set; give --node-id or {P}NODE_ID"


def test_service_link_of_kubernetes_does_not_matter() -> None:
    links = {
        "OTTLA_POST_OFFICE_PORT": "tcp://10.0.0.1:9092",
        "OTTLA_POST_OFFICE_SERVICE_HOST": "10.0.0.1",
        "OTTLA_BROKER__PORT": "another service's",
    }
    assert _load(environ=links).port == 0


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        _load("--port=-1", "--strict=maybe")
    assert len(caught.value.problems) == 2


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        _load().port = 1


def test_model_with_a_name_that_breaks_the_rule_is_refused() -> None:
    with pytest.raises(TypeError, match="have one _ between"):

        class Wrong(ServiceConfig):
            service: ClassVar[str] = "wrong"
            a__b: int = setting(1, description="Breaks the rule.")


def test_model_with_an_undescribed_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="has no description"):

        class Wrong(ServiceConfig):
            service: ClassVar[str] = "wrong"
            count: int = setting(1, description="")


def test_help_and_reference_name_every_setting() -> None:
    help_text = as_help(PostOfficeConfig, "python -m post_office")
    reference = as_reference(PostOfficeConfig)
    for field in PostOfficeConfig.model_fields:
        assert f"{flag_name(field)} (" in help_text
        assert f"| `{setting_name(field)}` |" in reference
    assert (
        "| `retention.ms` | number | default 604800000 | ≥ -1 ≤ 1000000000000000 | yes |"
        in reference
    )
    assert "--stamp-key (secret text; not set)" in help_text


def test_numbers_of_every_service_have_both_bounds() -> None:
    for name, field in ServiceConfig.model_fields.items():
        if field.annotation in {int, float}:
            constraints = {type(each).__name__ for each in field.metadata}
            assert {"Ge", "Le"} <= constraints, name


def test_shown_settings_as_table_and_json() -> None:
    shown = _load("--retention-ms=5").show()
    line = next(line for line in as_table(shown).splitlines() if line.startswith("retention.ms"))
    assert line.split() == ["retention.ms", "5", "flag", "--retention-ms"]
    document = json.loads(as_json("post-office", shown))
    entry = next(each for each in document["settings"] if each["name"] == "retention.ms")
    assert entry == {
        "name": "retention.ms",
        "value": "5",
        "source": "flag",
        "place": "--retention-ms",
        "dynamic": True,
        "description": "How long letters are kept.",
    }
