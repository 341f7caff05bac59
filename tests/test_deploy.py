"""`deploy/` as it is: its image, its services, and what is killed in containers: a run, writers."""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, TypeVar

import docker
import docker.errors
import httpx
import pytest

from tests.fc_resources import writers

_PROJECT = Path(__file__).parent.parent
_HOME = "/var/lib/formulacode"
_MONTH = "2026-01-01"
_ASSETS = (
    *("repositories", "pull_requests", "pr_classifications", "packages", "candidate_prs"),
    *("candidate_containers", "error_logs", "formulacode"),
)
_UP_S, _RUN_S = 300, 600
_LOADED = (
    "{ workspaceOrError { ... on Workspace { locationEntries {"
    " locationOrLoadError { __typename } } } } }"
)
_LAUNCH = (
    "mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {"
    " __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"
)
_RUNS = (
    "{ runsOrError { ... on Runs { results {"
    " runId status rootRunId stepStats { stepKey status } } } } }"
)
#: Items of stage 6: whoever does one again gives it another number.
_FINISHED = (
    "SELECT table_name, item, seq FROM hook_cache"
    " WHERE table_name IN ('candidate_containers', 'error_logs')"
)
_UNPACK = "import pathlib, sys; from fc_assets import sample; sample.unpack(pathlib.Path({!r}))"
_T = TypeVar("_T")


class Service:
    """What `docker-compose up` makes of `deploy/`; names, volumes and password are its own."""

    def __init__(self, folder: Path) -> None:
        self.name = f"formulacode-{secrets.token_hex(4)}"
        self.password = secrets.token_hex(16)
        self.docker = docker.from_env()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        tokens = folder / "tokens.env"
        tokens.write_text(
            f"FC_BASE_IMAGE={os.environ['FC_BASE_IMAGE']}\nFC_PYTHON_VERSIONS=3.11\n"
            f"FC_MEASURE_TIMEOUT_S=0\nFC_OFFLINE_SOURCE={_HOME}/offline\n"
        )
        self._environment = {
            "DOCKER_GID": str(Path("/var/run/docker.sock").stat().st_gid),
            "FC_IMAGE": self.name,
            "FC_NETWORK": self.name,
            "FC_PORT": str(self.port),
            "FC_POSTGRES_IMAGE": f"{self.name}-postgres",
            "FC_TOKENS": str(tokens),
            "FC_VOLUME": self.name,
            "POSTGRES_PASSWORD": self.password,
        }

    def compose(self, *arguments: str) -> str:
        file = _PROJECT / "deploy" / "compose.yaml"
        command = ["docker-compose", "--file", str(file), "--project-name", self.name]
        return _ran([*command, *arguments], env={**os.environ, **self._environment})

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/graphql"
        question = {"query": query, "variables": variables}
        with httpx.Client(trust_env=False, timeout=60) as client:
            answer = client.post(url, json=question).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def has_loaded(self) -> bool:
        try:
            [entry] = self.ask(_LOADED)["workspaceOrError"]["locationEntries"]
        except (httpx.TransportError, ValueError):
            return False
        found = entry["locationOrLoadError"]
        return found is not None and found["__typename"] == "RepositoryLocation"

    def launch(self) -> str:
        location = {
            "repositoryLocationName": "fc_assets.definitions",
            "repositoryName": "__repository__",
        }
        selection = [{"path": [asset]} for asset in _ASSETS]
        params = {
            "selector": {**location, "jobName": "__ASSET_JOB", "assetSelection": selection},
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": _MONTH}]},
        }
        answer = self.ask(_LAUNCH, params=params)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]

    def runs(self) -> dict[str, dict[str, Any]]:
        return {run["runId"]: run for run in self.ask(_RUNS)["runsOrError"]["results"]}

    def in_image(self, *command: str) -> str:
        """What a command of a new container prints that has what the services have."""
        return self.compose("run", "--rm", "--no-deps", "-T", "code", *command)

    def write(self, *arguments: object) -> Any:
        """What `tests.fc_resources.writers` says where the disk is shared and the home is not."""
        folder = _PROJECT / "tests"
        given = ("-v", f"{folder}:/opt/given/tests:ro", "-e", "PYTHONPATH=/opt/given")
        given += ("-e", "FC_HOME=/tmp/home", "code", "python", "-m", writers.__name__)
        return json.loads(
            self.compose("run", "--rm", "--no-deps", "-T", *given, *map(str, arguments))
        )

    def finished(self) -> set[str]:
        """Which items the ledger has of stage 6, and their numbers."""
        names = ("project", self.name), ("service", "postgres")
        labels = [f"com.docker.compose.{key}={value}" for key, value in names]
        [postgres] = self.docker.containers.list(filters={"label": labels})
        command = ["psql", "-U", "formulacode", "-d", "formulacode", "-At", "-c", _FINISHED]
        code, said = postgres.exec_run(command, environment={"PGPASSWORD": self.password})
        assert code == 0, said
        assert isinstance(said, bytes)  # as it is not streamed
        return set(said.decode().splitlines())

    def build(self, base: str) -> None:
        """Also its first stage, under a name: without one it would stay, and could not be told."""
        for target in ({"TARGET": "build", "IMAGE": f"{self.name}-build"}, {"IMAGE": self.name}):
            given = {"BASE": base, **target}
            _ran(["make", "image", *(f"{k}={v}" for k, v in given.items())], cwd=_PROJECT)
        self.docker.images.build(
            path=str(Path(__file__).parent / "postgres_image"),
            tag=f"{self.name}-postgres",
            buildargs={"BASE": base},
            rm=True,
        )

    def remove(self) -> None:
        self.compose("down", "--volumes", "--timeout", "5")
        for container in self.docker.containers.list(all=True, filters={"network": self.name}):
            with contextlib.suppress(docker.errors.NotFound):
                container.remove(force=True)
        for image in (self.name, f"{self.name}-build", f"{self.name}-postgres"):
            with contextlib.suppress(docker.errors.ImageNotFound):
                self.docker.images.remove(image, force=True)


def _ran(command: list[str], **more: Any) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=900, **more)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


def _until(look: Callable[[], _T | None], within_s: float, what: Callable[[], object]) -> _T:
    deadline = time.monotonic() + within_s
    while True:
        if found := look():
            return found
        assert time.monotonic() < deadline, what()
        time.sleep(1)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("deploy"))
    try:
        service.build(os.environ["FC_BASE_IMAGE"].format(python="3.11"))
        service.compose("up", "--detach")
        _until(service.has_loaded, _UP_S, lambda: service.compose("logs", "--tail", "50"))
        yield service
    finally:
        service.remove()


@pytest.mark.docker
def test_a_killed_run_goes_on_in_another_container(service: Service) -> None:
    service.in_image("python", "-c", _UNPACK.format(f"{_HOME}/offline"))
    first = service.launch()

    def state() -> dict[str, str]:
        steps = service.runs()[first]["stepStats"]
        return {step["stepKey"]: step["status"] for step in steps}

    def building() -> bool:
        assert service.runs()[first]["status"] not in ("FAILURE", "SUCCESS"), service.runs()
        return state().get("containers") == "IN_PROGRESS"

    _until(building, _RUN_S, service.runs)
    # It begins items that it will not finish, and has finished some.
    _until(service.finished, _RUN_S, service.runs)
    [container] = service.docker.containers.list(filters={"label": f"dagster/run_id={first}"})
    told = (container.attrs or {})["HostConfig"]
    assert told["Memory"]
    assert told["PidsLimit"]
    assert told["CapDrop"] == ["ALL"]
    container.kill()
    assert state()["containers"] == "IN_PROGRESS"
    finished = service.finished()

    def again() -> dict[str, Any] | None:
        others = [run for run in service.runs().values() if run["rootRunId"] == first]
        ended = [run for run in others if run["runId"] != first and run["status"] == "SUCCESS"]
        return ended[0] if ended else None

    second = _until(again, _RUN_S, lambda: (service.runs(), service.compose("logs")))
    done = {step["stepKey"] for step in second["stepStats"]}
    assert "containers" in done
    assert "packages" not in done, "what was finished is not repeated"
    assert finished < service.finished(), "neither are items of the stage that was killed"

    def left() -> Sequence[object]:
        return service.docker.containers.list(
            all=True,
            filters={"label": "formulacode=run", "ancestor": service.name},
            ignore_removed=True,
        )

    # A run has ended before its container has.
    _until(lambda: not left(), 60, left)
    status = json.loads(service.in_image("fc-data", "status", "--json"))
    written = {month["stage"] for month in status["months"] if month["state"] == "written"}
    assert written == {*range(1, 8)}, status


@pytest.mark.docker
def test_no_secret_is_in_image_or_logs(service: Service) -> None:
    image = service.docker.images.get(service.name)
    assert (image.attrs or {})["Config"]["User"] == "formulacode"
    told = json.dumps([image.attrs, image.history()])
    assert service.password not in told + service.compose("logs")
    listed = service.in_image("sh", "-c", "ls -A /app /opt/dagster; id -u")
    assert "tokens.env" not in listed
    assert ".git" not in listed.split()
    assert listed.split()[-1] == "1000"


@pytest.mark.docker
def test_writers_in_four_containers_leave_whole_months_though_some_are_killed(
    service: Service,
) -> None:
    """16 in all, half of them of one month; each is killed in one of its ten writes."""
    machines = range(writers.MACHINES)
    with futures.ThreadPoolExecutor(len(machines)) as pool:
        said = list(pool.map(lambda number: service.write("write", number), machines))
    assert [machine["killed"] for machine in said] == [writers.WRITERS] * len(machines)
    assert sum(machine["amid"] for machine in said) > 0
    last: dict[str, set[str]] = {}
    for writer in range(len(machines) * writers.WRITERS):
        month = str(writers.month_of(writer))
        last.setdefault(month, set()).add(writers.text_of(writer, writers.TURNS - 1))
    found = service.write("read")
    assert found.keys() == last.keys()
    for month, (text, later) in found.items():
        assert text in last[month]
        assert later == "again"
