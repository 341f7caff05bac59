"""What all tests share: no setting of the developer's machine leaks in, capabilities are named.

`FC_TEST_REQUIRE=docker,browser,github,agents,postgres` turns the skips of a poorer machine into
failures.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fc_assets import interrupts
from fc_resources import settings
from fc_resources.docker import Docker
from tests import postgres, registries
from tests.fakes import agent_tools, github_schema
from tests.postgres import RealPostgres
from tests.registries import RealRegistry

#: Kept for the tests that need them: where images come from on a machine without a registry.
_KEPT = ("FC_BASE_IMAGE", "FC_PYTHON_VERSIONS", "FC_TEST_REQUIRE")
_OURS = ("FC_", "DAGSTER_", "DSPY_", "GH_TOKENS", "PORTKEY_API_KEY")
#: Of coding agents and their providers.
_OURS += ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN")
_OURS += ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL")
#: Of libpq and of clients of S3: PGPASSFILE, AWS_PROFILE and the like.
_OURS += ("PG", "AWS_")
_OURS += ("HF_TOKEN", "HF_ENDPOINT", "DOCKERHUB_")
_REQUIRED = os.environ.get("FC_TEST_REQUIRE", "").split(",")


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home per test, no token, no model, no offline source, and the settings read afresh."""
    monkeypatch.setitem(settings.Settings.model_config, "env_file", None)
    for name in list(os.environ):
        if name.startswith(_OURS) and name not in _KEPT:
            monkeypatch.delenv(name)
    monkeypatch.setenv("FC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")
    settings.current.cache_clear()
    interrupts.STOP.clear()


def _lacks(capability: str) -> str | None:
    if capability == "docker":
        return None if Docker(Path("/nonexistent")).answers() else "no Docker daemon answers"
    if capability == "github":
        there = github_schema.PATH.is_file()
        return None if there else "GitHub's GraphQL schema is not there (npm and make test get it)"
    if capability == "agents":
        return agent_tools.lacks()
    if capability == "postgres":
        return postgres.lacks()
    found = shutil.which("chromium") and shutil.which("chromedriver")
    return None if found else "chromium or chromedriver is not installed"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what the machine cannot run, unless `FC_TEST_REQUIRE` names it."""
    for capability in ("docker", "browser", "github", "agents", "postgres"):
        marked = [item for item in items if item.get_closest_marker(capability)]
        reason = _lacks(capability) if marked and capability not in _REQUIRED else None
        for item in marked:
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of a real registry on loopback."""
    with _registry(tmp_path / "a-registry") as server:
        yield server.address


@pytest.fixture
def real_registry(tmp_path: Path) -> Iterator[RealRegistry]:
    """A real registry on loopback that can be stopped and started again."""
    with _registry(tmp_path / "a-registry") as server:
        yield server


@pytest.fixture(scope="session")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """One that wants a password; for all tests, as pushing a layer twice takes no time."""
    with _registry(tmp_path_factory.mktemp("locked") / "registry", locked=True) as server:
        yield server


@pytest.fixture(scope="session")
def real_postgres() -> Iterator[RealPostgres]:
    """A server for all tests; who uses it is marked `postgres`. A test takes a `database()`."""
    with RealPostgres() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new ledger, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    return request.getfixturevalue("real_postgres").ledger()


@pytest.fixture
def faketime() -> str:
    """The library that tells a process a wrong time; who uses it is marked `postgres`."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found and "postgres" not in _REQUIRED:
        pytest.skip("faketime is not installed")
    return str(found[0])


def _registry(folder: Path, locked: bool = False) -> RealRegistry:
    if not registries.installed() and "docker" not in _REQUIRED:
        pytest.skip("docker-registry is not installed")
    return RealRegistry(folder, locked=locked)
