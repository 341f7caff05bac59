"""Stage 7 as it is run, by a process of its own, killed at every step and with a failing registry.

In each case: no record without its image, nothing made twice, no month lost.
"""

import contextlib
import dataclasses
import io
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pyarrow.parquet as pq
import pytest

from fc_assets import work
from fc_assets.formulacode import records
from fc_assets.formulacode.records import Task
from fc_assets.tables import FORMULACODE, Table
from fc_resources.ledger import Ledger
from fc_resources.warehouse import Warehouse
from tests import samples
from tests.fakes import hub
from tests.fakes.hub import FakeHub
from tests.fc_assets.formulacode import material
from tests.registries import PASSWORD, USER, Gate, RealRegistry

pytestmark = pytest.mark.docker

_IDS = ["o__tiny-1", "o__tiny-2"]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A locked registry, which the layers of the first image are pushed to only once."""
    folder = tmp_path_factory.mktemp("gate") / "registry"
    with RealRegistry(folder, locked=True) as registry, Gate(registry) as gate:
        yield gate
        client = docker.from_env()
        for tag in [tag for image in client.images.list() for tag in image.tags]:
            if tag.startswith(gate.address):
                client.images.remove(tag)


class _Home:
    """A home of which stages 1 to 6 of a month are done, and where it publishes."""

    def __init__(self, path: Path, gate: Gate, fake: FakeHub, source: Path) -> None:
        path.mkdir()
        self.path, self._gate, self._fake = path, gate, fake
        self.place = f"t{os.urandom(4).hex()}"
        self.set = {
            "FC_REGISTRY": f"{gate.address}/{self.place}",
            "DOCKERHUB_USERNAME": USER,
            "DOCKERHUB_TOKEN": PASSWORD,
            "FC_DATASET": "o/data",
            "HF_ENDPOINT": fake.url,
            "HF_TOKEN": hub.TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(path / "hf"),
            "FC_OFFLINE_SOURCE": str(source),
            "FC_SANDBOX": "docker",
            "DOCKER_HOST": os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"),
        }
        self._runner = work.Work(
            Ledger(f"sqlite:///{path / 'ledger.sqlite'}"), Warehouse(path / "warehouse.duckdb"), 0
        )

    def store(self, *tasks: Task) -> None:
        """Have stages 1 to 6 have found these."""
        for table, part in material.PARTS.items():
            found = [getattr(task, part) for task in tasks]
            self._store(table, [dict(row) for row in found if row])

    def _store(self, table: Table, rows: list[dict[str, Any]]) -> None:
        required = material.required(table)
        known = {c.name for c in table.columns}
        own = {work.key_of({"issue_number": None, "sha": None, **row}): row for row in rows}
        items = [work.Item(key, row, work.digest(row)) for key, row in own.items()]

        def whole(row: dict[str, Any]) -> work.Answer:
            return work.Answer([{**required, **{n: v for n, v in row.items() if n in known}}])

        outcome = self._runner.run(table, [(material.JANUARY, items)], whole)
        for rows_of in outcome.rows.values():
            self._runner.warehouse.replace(table.name, rows_of)

    def publish(self, *arguments: str, **changed: str) -> "subprocess.CompletedProcess[str]":
        return samples.fc_data(
            self.path, "publish", "--month", "2026-01", *arguments, **{**self.set, **changed}
        )

    @contextlib.contextmanager
    def killed(self, *, may_end: bool = False) -> Iterator[Callable[[], None]]:
        """What kills a run, which begins after the block; it may end by itself before."""
        started = threading.Event()
        child: list[subprocess.Popen[bytes]] = []

        def kill() -> None:
            assert started.wait(60)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child[0].pid, signal.SIGKILL)

        yield kill
        child.append(
            subprocess.Popen(
                samples.command("publish", "--month", "2026-01"),
                env=samples.environment(self.path, **self.set),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )
        started.set()
        assert child[0].wait(300) in (-signal.SIGKILL, *([0] if may_end else []))

    def stored(self) -> list[dict[str, Any]]:
        """Records as the warehouse has them."""
        if FORMULACODE.name not in self._runner.warehouse.tables():
            return []
        reader = self._runner.warehouse.read(FORMULACODE.name, [material.JANUARY])
        return sorted(reader.read_all().to_pylist(), key=lambda row: row["task_id"])

    def published(self) -> list[dict[str, Any]]:
        """Records as the dataset has them."""
        commit = self._fake.repositories["o/data"].commits[-1]
        file = commit.files["data/2026-01.parquet"]
        return pq.read_table(io.BytesIO(file.content)).to_pylist()

    def versions(self) -> tuple[int, list[str]]:
        """How many commits there are besides the first, and the tags."""
        repository = self._fake.repositories.get("o/data")
        return (len(repository.commits) - 1, [*repository.tags]) if repository else (0, [])

    @property
    def tags(self) -> list[str]:
        return self._gate.registry.tags(f"{self.place}/o-tiny")

    def _taken(self) -> list[str]:
        """Tags that the registry gave to manifests, each time it did."""
        prefix = f"PUT /v2/{self.place}/o-tiny/manifests/"
        puts = (told for told, status in self._gate.asked if status == 201)
        return sorted(told.removeprefix(prefix) for told in puts if told.startswith(prefix))

    def pushed(self) -> list[str]:
        """Tags of recipes, each time the registry took an image for one."""
        return [tag for tag in self._taken() if "-" in tag]

    def put(self, number: str) -> int:
        """How often an image got a number."""
        return self._taken().count(number)

    def assert_whole(self) -> None:
        """One version with two records, each with its image, each pushed once and marked."""
        assert self.versions() == (1, ["formulacode@2026-01"])
        stored = self.stored()
        assert [records.published(row) for row in stored] == self.published()
        assert [row["task_id"] for row in stored] == _IDS
        assert all(row["published_at"] for row in stored)
        assert [tag for tag in self.tags if "-" not in tag] == ["1", "2"]
        assert self.pushed() == [tag for tag in self.tags if "-" in tag]
        assert len(self.tags) == 4
        with self._gate.registry.client as client:
            for row in stored:
                manifests = f"{self.place}/o-tiny/manifests"
                for reference in (row["image_digest"], row["issue_number"]):
                    found = client.head(f"{manifests}/{reference}", headers=_ACCEPT)
                    assert found.headers["Docker-Content-Digest"] == row["image_digest"]


_ACCEPT = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with FakeHub() as fake:
        yield fake


@pytest.fixture
def two(task: Task) -> list[Task]:
    """Tasks with an image each, made of the same container."""
    return [_numbered(task, number) for number in (1, 2)]


def _numbered(task: Task, number: int) -> Task:
    key = {"owner": "o", "repo": "tiny", "issue_number": number}
    merged = {"merged_at": material.WHEN, "merge_commit_sha": (task.container or {})["sha"]}
    patch = material.PATCH.format(number=number)
    return dataclasses.replace(
        task,
        candidate={**task.candidate, **key, **merged},
        pull_request={**task.pull_request, **key, "patch": patch},
        classification={**task.classification, **key},
        container={**(task.container or {}), **key},
        repository={**task.repository, "owner": "o", "repo": "tiny"},
    )


@pytest.fixture
def home(
    tmp_path: Path, gate: Gate, fake: FakeHub, folder: Path, two: list[Task]
) -> Iterator[_Home]:
    home = _Home(tmp_path / "home", gate, fake, folder)
    home.store(*two)
    yield home
    gate.heal()


def _when_written(home: _Home, kill: Callable[[], None]) -> None:
    """Kill it as soon as the warehouse has the month."""

    def watch() -> None:
        deadline = time.monotonic() + 120
        while not home.stored() and time.monotonic() < deadline:
            time.sleep(0.01)
        kill()

    threading.Thread(target=watch, daemon=True).start()


def test_killed_at_every_step_in_turn_it_ends_as_if_it_never_was(
    home: _Home, gate: Gate, fake: FakeHub
) -> None:
    for before_or_after, request in [
        (gate.before, r"PUT .*/manifests/\d-pr-.*"),
        (gate.after, r"PUT .*/manifests/\d-pr-.*"),
        (gate.before, r"PUT .*/manifests/\d"),  # when it was verified
        (gate.after, r"PUT .*/manifests/\d"),
        (fake.before, "POST .*/preupload/"),
        # The request that kills is served all the same: there is the commit, then its tag.
        (fake.before, "POST .*/commit/"),
        (fake.before, "POST .*/tag/"),
    ]:
        with home.killed() as kill:
            before_or_after(request, kill)
        assert home.stored() == []
    with home.killed(may_end=True) as kill:
        _when_written(home, kill)
    for _ in range(2):
        done = home.publish()
        assert done.returncode == 0, done.stderr
        home.assert_whole()


def test_a_registry_that_refuses_and_then_goes_down_half_way_loses_nothing(
    home: _Home, gate: Gate
) -> None:
    done = home.publish(DOCKERHUB_TOKEN="not-the-password")
    assert done.returncode == 1
    assert "set DOCKERHUB_USERNAME and DOCKERHUB_TOKEN" in done.stderr
    assert "not-the-password" not in done.stdout + done.stderr
    assert samples.files_with("not-the-password", home.path) == []
    gate.after(r"PUT .*/manifests/\d", gate.registry.stop)
    try:
        done = home.publish()
    finally:
        gate.registry.start()
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert len([tag for tag in home.tags if "-" not in tag]) == 1
    assert home.stored() == []
    assert home.versions() == (0, [])
    done = home.publish()
    assert done.returncode == 0, done.stderr
    home.assert_whole()
    assert samples.files_with(PASSWORD, home.path) == []


def test_an_image_that_gets_no_number_keeps_back_its_record_alone(home: _Home, gate: Gate) -> None:
    gate.fail("PUT .*/manifests/1", 503, times=3)
    done = home.publish()
    assert done.returncode == 0, done.stderr
    assert [row["task_id"] for row in home.published()] == _IDS[1:]
    before = home.pushed()
    done = home.publish()
    assert done.returncode == 0, done.stderr
    assert [row["task_id"] for row in home.published()] == _IDS
    assert home.versions() == (2, ["formulacode@2026-01", "formulacode@2026-01.1"])
    assert home.pushed() == before == [tag for tag in home.tags if "-" in tag]


def test_what_is_published_stays_whatever_registry_and_stage_6_lose(
    home: _Home, gate: Gate, two: list[Task]
) -> None:
    assert home.publish().returncode == 0
    home.assert_whole()
    first, second = home.stored()
    gate.registry.remove(f"{home.place}/o-tiny", first["image_digest"])
    done = home.publish()
    assert done.returncode == 0, done.stderr
    assert [row["image_digest"] for row in home.stored()] == [
        row["image_digest"] for row in (first, second)
    ]
    tags = [tag for tag in home.tags if "-" in tag]
    # Both were made of one container, so that they have one manifest.
    assert home.pushed() == sorted([*tags, *tags])
    home.store(two[0], dataclasses.replace(two[1], container=None))
    numbered = home.put("1"), home.put("2")
    done = home.publish("--force")
    assert done.returncode == 0, done.stderr
    assert "2026-01: o__tiny-2 stays as it was published: no verified container" in done.stderr
    assert home.stored() == [first, second]
    assert home.versions() == (1, ["formulacode@2026-01"])
    # With --force what is there was verified again, and not pushed.
    assert (home.put("1"), home.put("2")) == (numbered[0] + 1, numbered[1])
    assert home.pushed() == sorted([*tags, *tags])
