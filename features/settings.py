"""What `bank.yaml` says about a bank, read strictly and written with its comments.

YAML is read with every scalar a string; anchors, tags and repeated keys are refused, for YAML
would turn `no` into false and swallow the first of two equal keys.
"""

import difflib
import json
import os
import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from features.signin import SignIn

YAML_BYTES_MAX, YAML_DEPTH_MAX = 64 * 1024, 20  # libyaml ends the process at some thousands of levels
CHANNELS_MOST = 20
_CHANNEL = re.compile(r"[a-z][a-z0-9_]{0,29}")
# Every scalar a string; libyaml where PyYAML has it: ten times as fast, and a home is opened often.
_StrictLoader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
Engines = Literal["polars", "spark"]  # where snapshots and lists are computed


class HomeError(ValueError):
    """A home cannot be opened or made; one line: what, where, remedy."""


class Settings(BaseModel):
    """What `bank.yaml` says. Unknown keys are refused; every scalar may come as a string."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "Bank"
    currency: str = "EUR"
    currencies: tuple[str, ...] = ()
    zone: str = "UTC"
    clock: Literal["wall", "simulated"] = "wall"
    now: datetime | None = None
    database: str | None = None
    mlflow: str | None = None
    engine: Engines = "polars"
    snapshot_max_age_hours: int = 36
    mlflow_ui: str | None = None
    sign_in: SignIn = SignIn()
    booking_channels: tuple[str, ...] = ("atm", "branch", "app", "pos", "online")

    @field_validator("now", "database", "mlflow", "mlflow_ui", mode="before")
    @classmethod
    def _null_is_null(cls, value: object) -> object:
        # BaseLoader hands over every scalar as a string, so `null` arrives as text.
        return None if value in ("", "null", "~") else value

    @field_validator("currency", "currencies")
    @classmethod
    def _currency_codes(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for code in (value,) if isinstance(value, str) else value:
            if len(code) != 3 or not code.isascii() or not code.isupper():
                raise ValueError(f"`{code}` is not a currency; write three capitals, such as EUR")
        return value

    @field_validator("booking_channels", "currencies", mode="before")
    @classmethod
    def _is_a_list(cls, value: object) -> object:
        if isinstance(value, str):
            raise ValueError(f"`{value}` is no list; write it in brackets, [{value or 'a, b'}]")  # noqa: TRY004  # pydantic hears it alone
        return value

    @field_validator("booking_channels")
    @classmethod
    def _channels_can_be_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for channel in value:
            if not _CHANNEL.fullmatch(channel):
                raise ValueError(
                    f"`{channel}` cannot be part of a feature's name; write small letters, digits and _; `POS 1` is pos_1"
                )
        if len(value) > CHANNELS_MOST or len(set(value)) < len(value):
            raise ValueError(f"expected up to {CHANNELS_MOST} different channels")
        return value

    @field_validator("zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        if value not in zones():
            raise ValueError(f"`{value}` is not a time zone; write an IANA name, Europe/London")
        return value

    @field_validator("now")
    @classmethod
    def _now_has_a_zone(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("has no time zone; end it with Z, such as 2026-06-01T00:00:00Z")
        return value.astimezone(UTC) if value else None

    @field_validator("mlflow_ui")
    @classmethod
    def _is_a_page(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("is no address of a page; write where people open MLflow")
        return value

    @field_validator("sign_in", mode="before")
    @classmethod
    def _unsaid_is_default(cls, value: object) -> object:
        return {} if value in ("", "null", "~") else value

    @field_validator("snapshot_max_age_hours")
    @classmethod
    def _age_is_positive(cls, value: int) -> int:
        if value < 1:
            raise ValueError("expected 1 hour or more")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "Settings":
        if (self.clock == "simulated") != (self.now is not None):
            raise ValueError("`clock: simulated` and `now` go together; give both or neither")
        if self.currency not in self.currencies:
            object.__setattr__(self, "currencies", (self.currency, *self.currencies))
        return self

    @property
    def tz(self) -> ZoneInfo:
        """The bank's zone, in which days begin."""
        return ZoneInfo(self.zone)


def horizon_days(settings: Settings) -> int:
    """For how many midnights after its instant a snapshot's windows can be rolled exactly."""
    return -(-settings.snapshot_max_age_hours // 24) + 1


@cache
def zones() -> frozenset[str]:
    """Every IANA zone this machine knows, looked up once: it walks hundreds of files, and a home is opened often."""
    # What means another zone on each machine, or none, is no zone of a bank.
    return frozenset(available_timezones()) - {"localtime", "Factory", "posixrules"}


def read_settings(bank: Path) -> Settings:
    """The settings a bank.yaml holds; HomeError with one line if it is wrong."""
    document = read_yaml(bank)
    if not isinstance(document, dict):
        raise HomeError(f"`{bank}`: expected `key: value` lines")
    known = list(Settings.model_fields)
    for key in document:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            remedy = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(known)}"
            raise HomeError(f"`{bank}`: unknown key `{key}`; {remedy}")
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise HomeError(f"`{bank}`: {f'`{where}` ' if where else ''}{message}") from error


def read_assumptions(path: Path) -> list[str]:
    """The sentences of an assumptions.yaml, [] if there is none; HomeError if it is no list."""
    if not path.is_file():
        return []
    sentences = read_yaml(path)
    if not isinstance(sentences, list) or not all(isinstance(s, str) for s in sentences):
        raise HomeError(f"`{path}`: expected a list of sentences, one `- ...` a line")
    return [str(sentence) for sentence in sentences]


def write_settings(bank: Path, settings: Settings) -> None:
    """Write bank.yaml with a comment beside each key, whole or not at all."""
    now = settings.now.strftime("%Y-%m-%dT%H:%M:%SZ") if settings.now else "null"
    lines = (
        ("name", json.dumps(settings.name, ensure_ascii=False), "as it stands on letters"),
        ("currency", settings.currency, "base currency, ISO 4217"),
        ("currencies", f"[{', '.join(settings.currencies)}]", "every currency the data may hold"),
        ("zone", settings.zone, "IANA zone in which the bank's days begin"),
        ("clock", settings.clock, "wall | simulated"),
        ("now", now, "the present of a simulated clock"),
        ("database", settings.database or "null", "SQLAlchemy URL; null: nbo.db in this folder"),
        ("mlflow", settings.mlflow or "null", "tracking URI; null: mlruns/"),
        ("engine", settings.engine, "polars | spark"),
        ("snapshot_max_age_hours", str(settings.snapshot_max_age_hours), "older: degraded"),
        ("mlflow_ui", settings.mlflow_ui or "null", "where people open MLflow, for the console's links"),
        ("sign_in", _flow(settings.sign_in), "of the console; docs/console.md"),
        (
            "booking_channels",
            f"[{', '.join(settings.booking_channels)}]",
            "of transactions; each has features of its own",
        ),
    )
    text = "".join(f"{key}: {value}  # {comment}\n" for key, value, comment in lines)
    write_whole(bank, text.encode())


def _flow(sign_in: SignIn) -> str:
    """As one line of YAML, which JSON is; what nobody said is left out."""
    return json.dumps(sign_in.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside itself and rename it, so that a reader never sees half of it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def read_yaml(path: Path) -> object:
    """A small YAML file of the home, every scalar a string; HomeError (one line) where it is none."""
    if path.stat().st_size > YAML_BYTES_MAX:
        raise HomeError(f"`{path}` is larger than {YAML_BYTES_MAX} bytes")
    try:
        text = path.read_text("utf-8")
        _refuse_traps(path, text)
        return yaml.load(text, _StrictLoader)  # noqa: S506  # a BaseLoader makes only strings
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = str(error).replace("\n", " ")
        raise HomeError(f"`{path}` is not YAML: {line}") from error


def _refuse_traps(path: Path, text: str) -> None:
    """Refuse what YAML would swallow, duplicate keys, anchors, aliases, tags, and nesting that would end the process."""
    depth = 0
    for event in yaml.parse(text, _StrictLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > YAML_DEPTH_MAX:
            raise HomeError(f"`{path}`: nested deeper than {YAML_DEPTH_MAX} levels; write it flat")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise HomeError(f"`{path}`: anchors (&, *) are not used here; write the value out")
        if getattr(event, "tag", None):
            raise HomeError(f"`{path}`: tags (!) are not used here; write the plain value")
    node = yaml.compose(text, _StrictLoader)
    if isinstance(node, yaml.MappingNode):
        keys = [str(key.value) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice:
            raise HomeError(f"`{path}`: key `{twice}` stands twice; keep one")
