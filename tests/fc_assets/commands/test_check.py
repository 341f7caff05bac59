"""`fc-data check` against neighbours on loopback that answer, refuse, or say nothing at all."""

import base64
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from tests import samples
from tests.fakes import github as fake_github
from tests.fakes import models_faults
from tests.fakes.models import Models
from tests.fakes.server import Handler, Server
from tests.fc_assets.commands import ledgers

_TOKEN, _KEY, _HUB = "ghp_averysecrettoken", "sk-secret-1234567890", "hf_averysecrettoken"
_USER, _PASSWORD = "robot", "dckr_averysecrettoken"


class _Site:
    """An HTTP server with one answer for who brings the login, a refusal for others."""

    def __init__(
        self, status: int, body: object, headers: Mapping[str, str], login: str | None
    ) -> None:
        self.status, self.headers, self.login = status, headers, login
        self.body = json.dumps(body).encode()
        self.requests: list[tuple[str, str]] = []
        self._server = Server(_Handler, self)
        self.url = self._server.url

    def __enter__(self) -> Self:
        self._server.start("site")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.stop()


class _Handler(Handler):
    def _answer(self) -> None:
        site: _Site = self._fake
        site.requests.append((self.command, self.path))
        lets_in = self.headers.get("Authorization") == site.login
        self.send_response(site.status if lets_in else 401)
        for name, value in site.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(site.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(site.body)

    do_GET = do_HEAD = _answer


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _check(
    home: Path, *arguments: object, code: int = 0, limit_s: int = 120, **settings: Any
) -> dict[str, tuple[str, str]]:
    """State and text of every probe, within a limit that no loaded machine meets."""
    done = samples.fc_data(home, "check", "--timeout", limit_s, *arguments, **settings)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    for secret in (_TOKEN, _KEY, _HUB, _PASSWORD):
        assert secret not in done.stdout + done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)["checks"]
    assert all("\n" not in row["says"] for row in rows)
    return {row["check"]: (row["state"], row["says"]) for row in rows}


def _model(url: str) -> dict[str, Any]:
    return {"DSPY_MODEL": "openai/gpt-4o-mini", "DSPY_API_BASE": url, "DSPY_API_KEY": _KEY}


def test_nothing_is_made_where_there_is_no_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Models(tokens=(_KEY,)) as fake:
        found = _check(home, "--stage", 3, **_model(fake.api_base))
        assert fake.answered == 1
    assert found["home"] == ("ok", f"{home} will be made")
    assert found["model"] == ("ok", "openai/gpt-4o-mini answers")
    assert not home.exists()


def test_what_asking_took_is_in_the_ledger_of_a_home(tmp_path: Path) -> None:
    ledger = ledgers.ledger(tmp_path / "home")
    ledger.check()
    with Models(tokens=(_KEY,)) as fake:
        _check(tmp_path / "home", "--stage", 3, **_model(fake.api_base))
    [bill] = ledger.bills()
    assert (bill.stage, bill.answers) == ("check", 1)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (models_faults.unauthorized(), "refuses the key: status 401"),
        (models_faults.no_quota(), "its quota is spent"),
        (models_faults.server_error(), "failed 4 times"),
    ],
)
def test_a_model_that_does_not_answer_fails_with_the_reason(
    tmp_path: Path, fault: Any, says: str
) -> None:
    with Models(tokens=(_KEY,)) as fake:
        fake.fault(fault, times=10)
        given = {**_source(tmp_path), **_model(fake.api_base)}
        found = _check(tmp_path / "home", "--stage", 5, code=1, **given)
    state, text = found["model"]
    assert state == "FAIL"
    assert says in text


def _source(folder: Path) -> dict[str, Any]:
    path = samples.write(folder / "prs.parquet", [samples.pull_request()])
    return {"FC_OFFLINE_SOURCE": str(path)}


def test_a_neighbour_that_says_nothing_does_not_hold_up_the_others(
    tmp_path: Path, silent: str
) -> None:
    found = _check(
        tmp_path / "home",
        *("--stage", 1, "--stage", 3, "--stage", 7),
        code=1,
        limit_s=10,
        FC_SANDBOX="process",
        GH_TOKENS=_TOKEN,
        FC_GITHUB_URL=silent,
        **_model(silent),
        FC_REGISTRY=silent.removeprefix("http://"),
        FC_DATASET="formulacode/data",
        HF_ENDPOINT=silent,
        HF_TOKEN=_HUB,
        HF_HOME=str(tmp_path / "hub"),
    )
    failed = {name for name, (state, _) in found.items() if state == "FAIL"}
    assert failed == {"github token 1", "model", "registry", "hub"}
    assert found["home"][0] == found["disk"][0] == "ok"


@pytest.mark.github
def test_github_tells_what_is_left_of_each_token_and_loses_nothing_by_it(tmp_path: Path) -> None:
    with fake_github.GitHub((_TOKEN,)) as fake:
        fake.budget(_TOKEN, "graphql", 17, 600)
        found = _check(
            tmp_path / "home",
            *("--stage", 2),
            code=1,
            GH_TOKENS=f"{_TOKEN},ghp_revoked",
            FC_GITHUB_URL=fake.url,
        )
        assert {request.path for request in fake.requests} == {"/rate_limit"}
    assert found["github token 1"][0] == "ok"
    assert "graphql 17 of 5000, core 5000 of 5000" in found["github token 1"][1]
    state, says = found["github token 2"]
    assert state == "FAIL"
    assert "refuses" in says


@pytest.mark.parametrize(("source", "code", "expected"), [(False, 1, "FAIL"), (True, 0, "off")])
def test_without_a_token_an_offline_source_will_do(
    tmp_path: Path, source: bool, code: int, expected: str
) -> None:
    settings = _source(tmp_path) if source else {}
    found = _check(tmp_path / "home", "--stage", 1, code=code, **settings)
    state, says = found["github"]
    assert state == expected
    assert "GH_TOKENS" in says


def test_an_offline_source_that_cannot_be_read_fails(tmp_path: Path) -> None:
    (tmp_path / "prs.parquet").write_text("no Parquet")
    source = ("--offline-source", tmp_path / "prs.parquet")
    found = _check(tmp_path / "home", "--stage", 1, *source, code=1)
    assert found["offline source"][0] == "FAIL"


def _login(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.mark.parametrize(
    ("password", "code", "state"), [(_PASSWORD, 0, "ok"), ("wrong", 1, "FAIL")]
)
def test_a_registry_has_to_let_us_in(tmp_path: Path, password: str, code: int, state: str) -> None:
    unknown = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
    asks = {"WWW-Authenticate": 'Basic realm="Registry"'}
    with _Site(404, unknown, asks, _login(_USER, _PASSWORD)) as site:
        found = _check(
            tmp_path / "home",
            *("--stage", 7),
            code=code,
            FC_SANDBOX="process",
            FC_REGISTRY=f"{site.url.removeprefix('http://')}/fc",
            DOCKERHUB_USERNAME=_USER,
            DOCKERHUB_TOKEN=password,
        )
    assert found["registry"][0] == state
    assert {method for method, _ in site.requests} == {"HEAD"}


@pytest.mark.parametrize(("token", "code", "state"), [(_HUB, 0, "ok"), ("hf_wrong", 1, "FAIL")])
def test_the_hub_has_to_know_us(tmp_path: Path, token: str, code: int, state: str) -> None:
    me = {"type": "user", "name": "formulabot", "auth": {"type": "access_token"}}
    with _Site(200, me, {}, f"Bearer {_HUB}") as site, _Site(404, {}, {}, None) as registry:
        found = _check(
            tmp_path / "home",
            *("--stage", 7),
            code=code,
            FC_SANDBOX="process",
            FC_REGISTRY=registry.url.removeprefix("http://"),
            FC_DATASET="formulacode/data",
            HF_ENDPOINT=site.url,
            HF_TOKEN=token,
            HF_HOME=str(tmp_path / "hub"),
        )
    assert found["hub"][0] == state
    assert ("formulabot" in found["hub"][1]) == (state == "ok")
    assert ("GET", "/api/whoami-v2") in site.requests


def test_without_docker_stage_6_cannot_run_and_others_do_not_mind(tmp_path: Path) -> None:
    found = _check(tmp_path / "home", "--stage", 6, code=1)
    assert found["docker"][0] == found["base images"][0] == "FAIL"
    assert "Docker does not answer" in found["docker"][1]
    assert {state for name, (state, _) in found.items() if name.startswith("agent")} == {"off"}
    assert "docker" not in _check(tmp_path / "home", "--stage", 4)
    off = _check(tmp_path / "home", "--stage", 6, FC_SANDBOX="process")
    assert off["docker"] == ("off", "FC_SANDBOX is process; no container is made")


@pytest.mark.docker
def test_docker_has_base_images_or_can_have_them(tmp_path: Path) -> None:
    docker: dict[str, Any] = {
        "DOCKER_HOST": os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    }
    if "FC_PYTHON_VERSIONS" in os.environ:
        docker["FC_PYTHON_VERSIONS"] = os.environ["FC_PYTHON_VERSIONS"]
    found = _check(tmp_path / "home", "--stage", 6, **docker)
    assert found["docker"][0] == found["base images"][0] == "ok"
    nowhere: dict[str, Any] = {
        "FC_BASE_IMAGE": "127.0.0.1:1/none:{python}",
        "FC_PYTHON_VERSIONS": "3.12",
    }
    found = _check(tmp_path / "home", "--stage", 6, code=1, **{**docker, **nowhere})
    assert found["docker"][0] == "ok"
    assert "127.0.0.1:1/none:3.12 cannot be pulled" in found["base images"][1]


@pytest.mark.parametrize(
    ("agent", "says"),
    [("claude", "claude is not installed"), ("clod", "there is no agent 'clod'")],
)
def test_an_agent_that_is_named_has_to_be_usable(tmp_path: Path, agent: str, says: str) -> None:
    bare: dict[str, Any] = {"PATH": "/usr/bin:/bin", "FC_SANDBOX": "process"}
    found = _check(tmp_path / "home", "--stage", 6, "--agent", agent, code=1, **bare)
    state, text = found[f"agent {agent}"]
    assert state == "FAIL"
    assert says in text


def test_a_home_that_is_damaged_or_full_fails(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "ledger.sqlite").write_bytes(b"not a database at all" * 400)
    (home / "warehouse.duckdb").write_bytes(b"nor is this" * 400)
    found = _check(home, "--stage", 4, code=1, FC_FREE_GB="1e9")
    assert {name for name, (state, _) in found.items() if state == "FAIL"} == {
        "disk",
        "ledger",
        "warehouse",
    }
    assert found["uv"][0] == found["git"][0] == "ok"


def test_people_get_a_line_each(tmp_path: Path) -> None:
    home = samples.home_with_sample(tmp_path / "home")
    done = samples.fc_data(home, "check", "--stage", 1, "--table")
    assert done.returncode == 0, done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines] == [
        ["ok", "home"],
        ["ok", "disk"],
        ["ok", "offline"],
        ["off", "github"],
    ]
