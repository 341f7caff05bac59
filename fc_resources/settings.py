"""What a user can set, read from the environment and `tokens.env`: one place, typed.

Per-run choices (`--force`, `--n-concurrent` ...) are not settings: see `fc_assets.options`.
"""

import contextlib
import datetime
import functools
import os
import re
import urllib.parse
from pathlib import Path
from typing import Literal, Self

import pydantic
import pydantic_settings

from fc_resources.errors import UsageError, one_line

_URL, _MODEL = r"^https?://[^\s?#@]+$", r"^[\w@][\w@./:+-]*\w$"
#: A registry, with or without folders.
_PLACE = r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$"
#: SPDX identifiers of licences that allow to pass patches on.
_LICENSES = (
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ECL-2.0"),
    *("GPL-2.0", "GPL-3.0", "AGPL-3.0", "LGPL-2.1", "LGPL-3.0", "EPL-2.0", "EUPL-1.2", "ISC"),
    *("MIT", "MIT-0", "MPL-2.0", "NCSA", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib", "ZPL-2.1"),
)
_OLDEST_MINOR = 8
#: First releases that were not in their year's first days of October.
_RELEASES = {
    8: datetime.date(2019, 10, 14),
    9: datetime.date(2020, 10, 5),
    10: datetime.date(2021, 10, 4),
    11: datetime.date(2022, 10, 24),
    12: datetime.date(2023, 10, 2),
    13: datetime.date(2024, 10, 7),
    14: datetime.date(2025, 10, 7),
}


def python_released(minor: str) -> datetime.date:
    """When a minor version of CPython such as 3.12 came out: what was not there built nothing.

    Every October has one (PEP 602), so that later ones need no entry. `ValueError` before 3.8.
    """
    found = re.fullmatch(r"3\.([1-9]\d?|[89])", minor)
    if found is None or int(found[1]) < _OLDEST_MINOR:
        raise ValueError(f"{minor!r} is not a Python minor version from 3.8 on")
    number = int(found[1])
    return _RELEASES.get(number, datetime.date(2011 + number, 10, 1))


def _pythons(today: datetime.date) -> list[str]:
    """Minor versions that are out, oldest first."""
    minors = (f"3.{n}" for n in range(_OLDEST_MINOR, today.year - 2011 + 1))
    return [minor for minor in minors if python_released(minor) <= today]


#: A repository of the Hub, or a bucket with or without folders.
_DATASET = r"^([\w-][\w.-]*/[\w-][\w.-]*|s3://[a-z0-9][a-z0-9.-]+(/[\w=-][\w.=-]*)*)$"


class Settings(pydantic_settings.BaseSettings):
    """Settings of one home folder; names are the environment variables in lower case."""

    model_config = pydantic_settings.SettingsConfigDict(
        env_file="tokens.env", extra="ignore", env_ignore_empty=True, allow_inf_nan=False
    )

    fc_home: Path = Path(".fc")
    fc_dagster_home: Path | None = None
    fc_ledger: pydantic.SecretStr | None = None
    fc_offline_source: Path | None = None
    fc_warehouse: str | None = pydantic.Field(None, pattern=r"^ducklake:postgres")
    fc_warehouse_data: str | None = None
    fc_snapshot_days: float = pydantic.Field(7, ge=1)
    gh_tokens: pydantic.SecretStr | None = None
    fc_github_url: str = pydantic.Field("https://api.github.com", pattern=_URL)
    fc_github_timeout_s: float = pydantic.Field(30, gt=0)
    fc_github_max_wait_s: float = pydantic.Field(3900, ge=0)
    portkey_api_key: pydantic.SecretStr | None = None
    anthropic_api_key: pydantic.SecretStr | None = None
    dspy_model: str | None = pydantic.Field(None, pattern=_MODEL)
    dspy_api_base: str | None = pydantic.Field(None, pattern=_URL)
    dspy_api_key: pydantic.SecretStr | None = None
    dspy_max_tokens: int = pydantic.Field(16_000, gt=0)
    dspy_temperature: float = pydantic.Field(0.0, ge=0, le=2)
    fc_llm_budget_usd: float | None = pydantic.Field(None, ge=0)
    fc_llm_usd_per_mtok: str | None = None
    fc_llm_timeout_s: float = pydantic.Field(180, gt=0)
    fc_llm_max_wait_s: float = pydantic.Field(900, ge=0)
    fc_llm_concurrent: int = pydantic.Field(8, ge=1)
    claude_code_oauth_token: pydantic.SecretStr | None = None
    openai_api_key: pydantic.SecretStr | None = None
    gemini_api_key: pydantic.SecretStr | None = None
    anthropic_base_url: str | None = pydantic.Field(None, pattern=_URL)
    openai_base_url: str | None = pydantic.Field(None, pattern=_URL)
    google_gemini_base_url: str | None = pydantic.Field(None, pattern=_URL)
    fc_agent_model: str | None = pydantic.Field(None, pattern=_MODEL)
    fc_agent_timeout_s: float = pydantic.Field(3600, gt=0)
    fc_agent_max_tokens: int = pydantic.Field(5_000_000, gt=0)
    fc_agent_max_wait_s: float = pydantic.Field(900, ge=0)
    datasmith_rl_default_pause_s: float = pydantic.Field(3600, gt=0)
    datasmith_rl_max_retries: int = pydantic.Field(3, ge=0)
    datasmith_neighbor_window_days: float = pydantic.Field(60, ge=0, le=3650)
    datasmith_neighbor_cap: int = pydantic.Field(40, ge=0)
    fc_sandbox: Literal["auto", "docker", "process", "none"] = "auto"
    fc_base_image: str = "python:{python}-slim-bookworm"
    fc_python_versions: str = pydantic.Field(
        default_factory=lambda: ",".join(_pythons(datetime.date.today()))
    )
    fc_event_days: float = pydantic.Field(90, ge=0)
    fc_max_failed_share: float = pydantic.Field(0.25, ge=0, le=1)
    fc_lock_timeout_s: float = pydantic.Field(60, gt=0)
    fc_git_timeout_s: float = pydantic.Field(1800, gt=0)
    fc_mirror_days: float = pydantic.Field(180, gt=0)
    fc_mirror_gb: float = pydantic.Field(20, gt=0)
    fc_free_gb: float = pydantic.Field(2, ge=0)
    fc_build_timeout_s: float = pydantic.Field(1800, gt=0)
    fc_profile_timeout_s: float = pydantic.Field(1800, gt=0)
    fc_measure_timeout_s: float = pydantic.Field(1800, ge=0)
    fc_memory: str = pydantic.Field("4g", pattern=r"^\d+[kmg]$")
    fc_cpus: float = pydantic.Field(2, gt=0)
    fc_pids: int = pydantic.Field(1024, gt=0)
    fc_disk: str = pydantic.Field("20g", pattern=r"^[1-9]\d*[kmg]$")
    fc_image_gb: float = pydantic.Field(100, ge=0)
    fc_registry: str | None = pydantic.Field(None, pattern=_PLACE)
    dockerhub_username: str | None = None
    dockerhub_token: pydantic.SecretStr | None = None
    fc_dataset: str | None = pydantic.Field(None, pattern=_DATASET)
    fc_s3_path_style: bool | None = None
    hf_endpoint: str | None = pydantic.Field(None, pattern=_URL)
    hf_token: pydantic.SecretStr | None = None
    hf_token_path: Path | None = None
    aws_access_key_id: str | None = None
    aws_secret_access_key: pydantic.SecretStr | None = None
    aws_session_token: pydantic.SecretStr | None = None
    aws_region: str | None = None
    aws_endpoint_url: str | None = pydantic.Field(None, pattern=_URL)
    pghost: str | None = None
    pgport: str | None = None
    pguser: str | None = None
    pgpassword: pydantic.SecretStr | None = None
    pgdatabase: str | None = None
    fc_licenses: str = ""

    @pydantic.field_validator("fc_home", "fc_dagster_home", "fc_offline_source")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        try:
            return None if path is None else path.expanduser().absolute()
        except RuntimeError as error:  # "~name" of nobody, which pydantic would let through
            raise ValueError(str(error)) from None

    @pydantic.field_validator("fc_warehouse")
    @classmethod
    def _no_password(cls, place: str | None) -> str | None:
        # It would stand in SQL, and so in logs and errors.
        if place and re.search(r"password\s*=|//[^/@]*:[^/]*@", place):
            raise ValueError("has a password; put it into PGPASSWORD or the file of PGPASSFILE")
        return place

    @pydantic.field_validator("fc_python_versions")
    @classmethod
    def _known_minors(cls, text: str) -> str:
        for minor in (part.strip() for part in text.split(",")):
            python_released(minor)
        return text

    @pydantic.field_validator("fc_base_image")
    @classmethod
    def _names_python(cls, text: str) -> str:
        if "{python}" not in text or "{" in text.replace("{python}", ""):
            raise ValueError("has to contain {python}, where the minor version goes, and no other")
        return text

    @pydantic.field_validator(
        *("portkey_api_key", "anthropic_api_key", "dspy_api_key", "openai_api_key"),
        *("gemini_api_key", "claude_code_oauth_token", "hf_token", "dockerhub_token"),
    )
    @classmethod
    def _a_key(cls, key: pydantic.SecretStr | None) -> pydantic.SecretStr | None:
        text = key.get_secret_value().strip() if key else ""
        if not re.fullmatch(r"[!-~]*", text):
            raise ValueError("has characters that no key has")
        return pydantic.SecretStr(text) if text else None

    @pydantic.field_validator("fc_llm_usd_per_mtok")
    @classmethod
    def _two_prices(cls, text: str | None) -> str | None:
        if text and not re.fullmatch(r"\s*\d+(\.\d+)?\s*,\s*\d+(\.\d+)?\s*", text):
            raise ValueError("is dollars for input, a comma, dollars for output, such as 0.15,0.60")
        return text

    @pydantic.model_validator(mode="after")
    def _portkey_has_a_model(self) -> Self:
        if self.portkey_api_key and not self.dspy_model:
            raise ValueError("is set; DSPY_MODEL has to name a model, such as @openai/gpt-5-mini")
        return self

    @pydantic.field_validator("gh_tokens")
    @classmethod
    def _printable(cls, tokens: pydantic.SecretStr | None) -> pydantic.SecretStr | None:
        text = "".join(_words(tokens))
        if not (text.isascii() and text.isprintable()):
            raise ValueError("has characters that no token has")
        return tokens

    @pydantic.field_validator("fc_ledger")
    @classmethod
    def _a_database(cls, url: pydantic.SecretStr | None) -> pydantic.SecretStr | None:
        if url and not _is_database(url.get_secret_value()):
            raise ValueError("is no URL such as postgresql://user@host/database")
        return url

    @pydantic.field_validator("fc_licenses")
    @classmethod
    def _licences(cls, text: str) -> str:
        for entry in re.split(r"[\s,]+", text):
            if entry and not re.fullmatch(r"([\w.-]+/[\w.-]+=)?[\w.+-]+", entry):
                raise ValueError(f"{entry!r} is neither MIT nor owner/name=MIT")
        return text

    @pydantic.field_validator("fc_dataset")
    @classmethod
    def _has_images(cls, name: str | None, found: pydantic.ValidationInfo) -> str | None:
        if name and not found.data.get("fc_registry"):
            raise ValueError("is set; FC_REGISTRY has to say where its images go")
        return name

    @property
    def licenses(self) -> set[str]:
        """SPDX identifiers of licences whose patches are passed on."""
        return {e for e in re.split(r"[\s,]+", self.fc_licenses) if e and "=" not in e} or {
            *_LICENSES
        }

    @property
    def told_licenses(self) -> dict[str, str]:
        """Licences as the user tells them, by owner/name in lower case."""
        entries = (e.split("=") for e in re.split(r"[\s,]+", self.fc_licenses) if "=" in e)
        return {name.lower(): license for name, license in entries}

    @property
    def hub_token(self) -> str | None:
        """Token for the Hugging Face Hub; None leaves it to the Hub's client."""
        if self.hf_token is not None:
            return self.hf_token.get_secret_value()
        try:
            path = self.hf_token_path
            return path.expanduser().read_text("utf-8").strip() or None if path else None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"HF_TOKEN_PATH cannot be read: {one_line(error)}") from None

    @property
    def secrets(self) -> list[str]:
        """Every secret, the longest first, and each token alone: to be hidden, and looked for."""
        given = (value for name, value in self if name != "gh_tokens")
        found = {v.get_secret_value() for v in given if isinstance(v, pydantic.SecretStr)}
        place = urllib.parse.urlsplit(self.ledger)
        found.add(urllib.parse.unquote(place.password or ""))
        found.update(urllib.parse.parse_qs(place.query).get("password", []))
        with contextlib.suppress(UsageError):  # what cannot be read is told by nobody
            found.add(self.hub_token or "")
        return sorted({*found, *self.github_tokens} - {""}, key=len, reverse=True)

    @property
    def github_tokens(self) -> list[str]:
        """Tokens for GitHub, each once, in the order given (by commas or blanks)."""
        return list(dict.fromkeys(_words(self.gh_tokens)))

    @property
    def python_versions(self) -> list[str]:
        """Minor versions a container can be based on, newest first."""
        minors = {part.strip() for part in self.fc_python_versions.split(",")}
        return sorted(minors, key=lambda m: tuple(map(int, m.split("."))), reverse=True)

    @property
    def warehouse(self) -> Path:
        """The DuckDB file; a stem equal to the schema's name would be ambiguous to DuckDB."""
        return self.fc_home / "warehouse.duckdb"

    @property
    def has_warehouse(self) -> bool:
        """Whether there is one; what a catalog has only it can tell."""
        return self.fc_warehouse is not None or self.warehouse.exists()

    @property
    def ledger(self) -> str:
        """SQLAlchemy URL of the ledger; it may hold a password."""
        if self.fc_ledger is not None:
            return self.fc_ledger.get_secret_value()
        return ledger_at(str(self.fc_home / "ledger.sqlite"))

    @property
    def has_ledger(self) -> bool:
        """Whether there is one, or it is for others to say."""
        return self.fc_ledger is not None or (self.fc_home / "ledger.sqlite").exists()

    @property
    def mirrors(self) -> Path:
        return self.fc_home / "mirrors"

    @property
    def published(self) -> Path:
        return self.fc_home / "published"

    @property
    def scripts(self) -> Path:
        """Folder with a user's own build scripts: `<owner>/<repo>/<script>.sh`."""
        return self.fc_home / "scripts"

    @property
    def sandboxes(self) -> Path:
        return self.fc_home / "sandboxes"

    @property
    def uv_cache(self) -> Path:
        return self.fc_home / "uv-cache"

    @property
    def verification(self) -> dict[str, object]:
        """What the outcome of building and checking depends on, besides the candidate."""
        names = ("sandbox", "base_image", "build_timeout_s", "profile_timeout_s", "memory")
        names += ("cpus", "pids", "disk", "measure_timeout_s")
        return {name: getattr(self, f"fc_{name}") for name in names}

    @property
    def offline_source(self) -> Path | None:
        """`FC_OFFLINE_SOURCE`, else the `offline` folder of the home if there is one."""
        default = self.fc_home / "offline"
        return self.fc_offline_source or (default if default.exists() else None)

    def make_home(self) -> None:
        """Create the home; `UsageError` when it cannot be written."""
        try:
            self.fc_home.mkdir(parents=True, exist_ok=True)
            probe = self.fc_home / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UsageError(
                f"FC_HOME {self.fc_home} cannot be written ({error.strerror}); "
                "set FC_HOME to a folder of yours"
            ) from None


def _words(secret: pydantic.SecretStr | None) -> list[str]:
    return re.findall(r"[^\s,;]+", secret.get_secret_value()) if secret else []


def _is_database(url: str) -> bool:
    try:
        found = urllib.parse.urlsplit(url)
        # What is behind the first of two SQLAlchemy takes for a host, which is told and asked for.
        is_one = found.scheme == "postgresql" and found.netloc.count("@") <= 1
        return is_one and found.port != 0
    except ValueError:  # it would tell a part of the password
        return False


def ledger_at(place: str) -> str:
    """SQLAlchemy URL of a ledger at what `FC_LEDGER` can be, or the path of a .sqlite file."""
    if _is_database(place):
        return place
    if "://" in place or not place.endswith(".sqlite"):
        # Not told, as it may have a password.
        raise UsageError(
            "a ledger is at postgresql://user@host/database, or a file whose name ends with .sqlite"
        )
    return f"sqlite:///{urllib.parse.quote(str(Path(place).absolute()))}"


def load() -> Settings:
    """Settings of this process; `UsageError` names the variable that is wrong."""
    try:
        return Settings.model_validate({})
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        name = "_".join(map(str, first["loc"])).upper() or "PORTKEY_API_KEY"
        raise UsageError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None
    except (UnicodeDecodeError, OSError) as error:
        raise UsageError(f"tokens.env cannot be read: {error}") from None


#: What libraries look for in the environment only, wherever it was set.
_ELSEWHERE = tuple(name for name in Settings.model_fields if name.startswith(("aws_", "pg")))


@functools.cache
def current() -> Settings:
    """The settings, read once per process: assets and sensors of a run agree on them."""
    settings = _chosen.get("settings") or load()
    for name in _ELSEWHERE:
        if (value := getattr(settings, name)) is not None:
            told = value.get_secret_value() if isinstance(value, pydantic.SecretStr) else value
            os.environ.setdefault(name.upper(), told)
    return settings


_chosen: dict[str, Settings] = {}


def use(settings: Settings) -> None:
    """Have this process use settings that are not the environment's, such as the demo's."""
    _chosen["settings"] = settings
    current.cache_clear()
