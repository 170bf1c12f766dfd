"""The home of one bank: a folder with its settings, its secret and everything the engine writes.

A home is made by `Home.create` and opened by `Home.open`. Nothing here reads data; the other files
of this room are given a `Home` and ask it where things stand and what time it is.
"""

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

from features.settings import HomeError, Settings, read_assumptions, read_settings, write_settings

__all__ = ["Home", "HomeError", "Settings"]

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDERS = ("data", "features", "models", "lists", "policies", "campaigns")


class Home:
    """The folders of one bank. Make one with `create` or `open`, never by hand."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path.resolve()
        self.settings = settings

    @classmethod
    def open(cls, path: Path) -> "Home":
        """The home at that path; HomeError (one line) if bank.yaml is missing or wrong."""
        bank, before = path / "bank.yaml", path / ".data-before"
        if before.is_dir() and not (path / "data").exists():
            before.rename(path / "data")  # an import was cut short between its two renames
        if not bank.is_file():
            raise HomeError(f"`{path}` is not a bank's home: bank.yaml is missing; nbo init {path}")
        return cls(path, read_settings(bank))

    @classmethod
    def create(cls, path: Path, settings: Settings) -> "Home":
        """A new home: folders, bank.yaml with comments, secret.key readable by its owner only.

        A path that already is a home keeps its settings and its secret, and is returned as it is.

        Raises:
            HomeError: The folder holds other things and is no home.
        """
        if (path / "bank.yaml").exists():
            return cls.open(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise HomeError(f"`{path}` is not empty and not a bank's home; choose an empty folder")
        for folder in FOLDERS:
            (path / folder).mkdir(parents=True, exist_ok=True)
        _write_secret(path / "secret.key")
        write_settings(path / "bank.yaml", settings)
        return cls(path, settings)

    def now(self) -> datetime:
        """The present in UTC: the simulated instant of bank.yaml, else the wall clock."""
        return self.settings.now or datetime.now(UTC)

    def move_clock(self, now: datetime) -> "Home":
        """The same home with its simulated clock set to `now` (bank.yaml is rewritten).

        Raises:
            HomeError: The home runs on the wall clock, or `now` lies before its clock.
        """
        if self.settings.now is None:
            raise HomeError(f"`{self.path}` runs on the wall clock; only simulated clocks move")
        if now < self.settings.now:
            raise HomeError(f"`{self.path}`: its clock stands at {self.settings.now:%FT%TZ}, later")
        settings = self.settings.model_copy(update={"now": now.astimezone(UTC)})
        write_settings(self.path / "bank.yaml", settings)
        return Home(self.path, settings)

    @property
    def data(self) -> Path:
        """Imported canonical tables."""
        return self.path / "data"

    @property
    def quarantine(self) -> Path:
        """Rows the last import refused, one Parquet file a table."""
        return self.data / "quarantine"

    @property
    def features(self) -> Path:
        """Snapshots, `<as_of>.arrow`."""
        return self.path / "features"

    @property
    def models(self) -> Path:
        """Bundles, one folder a sha256, and `live.json`."""
        return self.path / "models"

    @property
    def lists(self) -> Path:
        """Offer lists, one folder a run."""
        return self.path / "lists"

    @property
    def policies(self) -> Path:
        """Contact policies."""
        return self.path / "policies"

    @property
    def campaigns(self) -> Path:
        """Campaign files."""
        return self.path / "campaigns"

    @property
    def catalogue(self) -> Path:
        """The catalogue file of offers and channels."""
        return self.path / "catalogue.yaml"

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the ledger; `nbo.db` in the home unless bank.yaml says otherwise."""
        return self.settings.database or f"sqlite:///{self.path / 'nbo.db'}"

    @property
    def mlflow_uri(self) -> str:
        """Tracking URI: the repository's `mlruns` for its own `bank` folder, else the home's."""
        default = self.path == REPOSITORY / "bank"
        folder = (REPOSITORY if default else self.path) / "mlruns"
        return self.settings.mlflow or f"sqlite:///{folder / 'mlflow.db'}"

    def secret(self) -> bytes:
        """The home's secret (32 bytes), from which draws and key hashes are made."""
        key = self.path / "secret.key"
        if not key.is_file():
            raise HomeError(f"`{self.path}`: secret.key is missing; bring it back from the backup")
        return bytes.fromhex(key.read_text("ascii"))

    def table(self, name: str) -> Path:
        """Folder of `part-*.parquet` of one canonical table; absent if never imported."""
        return self.data / name

    def assumptions(self) -> list[str]:
        """Sentences the source declared for what it does not have; stamped on every answer."""
        return read_assumptions(self.data / "assumptions.yaml")


def _write_secret(path: Path) -> None:
    # O_EXCL: a secret is never overwritten, for decisions are drawn from it.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
