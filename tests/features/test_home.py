"""A home: made once, opened strictly, with a secret only its owner reads."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.home import REPOSITORY, Home, HomeError, Settings

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SIMULATED = Settings(name='The "Old" Bank: 银行', currency="CNY", currencies=("USD", "CNY"),
                     zone="Asia/Shanghai", clock="simulated", now=NOW)  # fmt: skip


def test_create_then_open_gives_the_same_settings(tmp_path: Path) -> None:
    made = Home.create(tmp_path / "bank", SIMULATED)
    assert Home.open(made.path).settings == SIMULATED
    assert made.now() == NOW
    assert Home.create(made.path, Settings()).settings == SIMULATED, "a home keeps its settings"
    for folder in (made.data, made.features, made.models, made.lists, made.policies, made.campaigns):
        assert folder.is_dir()


def test_every_key_of_bank_yaml_has_a_comment(tmp_path: Path) -> None:
    lines = (Home.create(tmp_path / "bank", Settings()).path / "bank.yaml").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == list(Settings.model_fields)
    assert all("  # " in line for line in lines)


def test_the_secret_is_its_owners_alone_and_never_written_again(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "bank", Settings())
    mode = stat.S_IMODE((home.path / "secret.key").stat().st_mode)
    assert (mode, len(home.secret())) == (0o600, 32)
    assert Home.create(home.path, Settings()).secret() == home.secret()
    assert Home.create(tmp_path / "other", Settings()).secret() != home.secret()


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("x")
    with pytest.raises(HomeError) as error:
        Home.create(tmp_path, Settings())
    assert str(error.value) == (f"`{tmp_path}` is not empty and not a bank's home; choose an empty folder")


def test_a_missing_home_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(HomeError) as error:
        Home.open(tmp_path)
    assert str(error.value) == (f"`{tmp_path}` is not a bank's home: bank.yaml is missing; nbo init {tmp_path}")


@pytest.mark.parametrize(("text", "line"), [
    ("nme: x", "unknown key `nme`; did you mean `name`?"),
    ("name: a\nname: b", "key `name` stands twice; keep one"),
    ("[" * 32_760 + "]" * 32_760, "nested deeper than 20 levels; write it flat"),  # mutant: without the bound the process ends
    ("- " * 30_000, "nested deeper than 20 levels; write it flat"),
    ("name: &a x", "anchors (&, *) are not used here; write the value out"),
    ("name: !!str x", "tags (!) are not used here; write the plain value"),
    ("- x", "expected `key: value` lines"),
    ("zone: Mars/X", "`zone` `Mars/X` is not a time zone; write an IANA name, Europe/London"),
    ("currency: eur", "`currency` `eur` is not a currency; write three capitals, such as EUR"),
    ("clock: simulated", "`clock: simulated` and `now` go together; give both or neither"),
    ("now: 2026-06-01T00:00:00", "`now` has no time zone; end it with Z, such as 2026-06-01T00:00:00Z"),
    ("snapshot_max_age_hours: 0", "`snapshot_max_age_hours` expected 1 hour or more"),
    ("booking_channels: [atm, Point of sale]",
     "`booking_channels` `Point of sale` cannot be part of a feature's name; write small letters, digits and _; `POS 1` is pos_1"),
    ("booking_channels: atm", "`booking_channels` `atm` is no list; write it in brackets, [atm]"),
    ("booking_channels: [atm, atm]", "`booking_channels` expected up to 20 different channels"),
])  # fmt: skip
def test_a_wrong_bank_yaml_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    bank = tmp_path / "bank.yaml"
    bank.write_text(text)
    with pytest.raises(HomeError) as error:
        Home.open(tmp_path)
    assert str(error.value) == f"`{bank}`: {line}"


def test_scalars_are_not_guessed(tmp_path: Path) -> None:
    """YAML would read `no` as false and 036 as thirty."""
    (tmp_path / "bank.yaml").write_text("name: no\nsnapshot_max_age_hours: 036\nnow: null\n")
    settings = Home.open(tmp_path).settings
    assert (settings.name, settings.snapshot_max_age_hours, settings.now) == ("no", 36, None)


def test_only_a_simulated_clock_moves_and_only_forward(tmp_path: Path) -> None:
    home = Home.create(tmp_path / "bank", SIMULATED).move_clock(NOW + timedelta(days=3))
    assert Home.open(home.path).now() == NOW + timedelta(days=3)
    with pytest.raises(HomeError, match="its clock stands at 2026-06-04T00:00:00Z, later"):
        home.move_clock(NOW)
    with pytest.raises(HomeError, match="only simulated clocks move"):
        Home.create(tmp_path / "wall", Settings()).move_clock(NOW)


def test_the_repositorys_own_bank_uses_its_mlruns(tmp_path: Path) -> None:
    own = Home(REPOSITORY / "bank", Settings())
    assert own.mlflow_uri == f"sqlite:///{REPOSITORY / 'mlruns' / 'mlflow.db'}"
    other = Home(tmp_path, Settings())
    assert other.mlflow_uri == f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}"
    assert other.database_url == f"sqlite:///{tmp_path / 'nbo.db'}"
