"""The whole pipeline as its users run it: the demo, kills and concurrent runs on the sample."""

import io
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from fc_assets import sample
from fc_assets.formulacode import publication, records
from fc_assets.tables import STAGES, TABLES
from fc_resources.dataset_folder import DatasetFolder
from fc_resources.ledger import Ledger
from tests import samples
from tests.fakes import hub

_RANGE = ("--start-date", "2026-01-01", "--end-date", "2026-03-01")
_MANIFEST = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
#: What differs between two runs that did the same: times and what was printed meanwhile.
_VOLATILE = ("seconds", "log", "benchmarks", "checks", "timings", "image", "resolved_at")
_VOLATILE += ("published_at",)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a demo that nobody disturbed, without Docker."""
    parent = tmp_path_factory.mktemp("undisturbed")
    done = samples.fc_data(parent / "home", "demo")
    assert done.returncode == 0, done.stderr
    return parent / "home" / "demo"


def test_the_demo_completes_all_stages_without_docker(undisturbed: Path) -> None:
    tables = samples.tables(undisturbed)
    assert set(tables) == {table.name for table in TABLES}
    assert len(tables["pull_requests"]) == len(sample.load("pull_requests"))
    assert {row["sandbox"] for row in tables["candidate_containers"]} == {"process"}
    assert len(tables["candidate_containers"]) == len(tables["candidate_prs"]) >= 8
    assert all(row["failure_stage"] is None for row in tables["error_logs"])
    assert not any((undisturbed / "sandboxes").glob("formulacode-*"))


def test_the_demo_publishes_what_the_warehouse_says(undisturbed: Path) -> None:
    stored = samples.tables(undisturbed)["formulacode"]
    published = undisturbed / "published"
    paths = sorted((published / "data").glob("*.parquet"))
    assert [file.stem for file in paths] == ["2026-01", "2026-02"]
    rows = [row for file in paths for row in pq.read_table(file).to_pylist()]
    assert sorted(rows, key=repr) == [records.published(row) for row in stored]
    assert {row["image_name"] for row in rows} == {None}
    state = publication.look(DatasetFolder(published))
    assert list(state.manifest.versions) == ["formulacode@2026-01", "formulacode@2026-02"]
    for row in stored:
        month = state.manifest.months[f"{row['partition_month']:%Y-%m}"]
        assert row["published_at"] == month.published_at


def test_a_withdrawn_record_is_published_by_no_later_run(tmp_path: Path, undisturbed: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(undisturbed, home)
    dataset = DatasetFolder(home / "published")
    before = publication.look(dataset)
    task, *others = before.manifest.months["2026-01"].records
    done = samples.fc_data(home, "unpublish", task, "--reason", "it leaks")
    assert done.returncode == 0, done.stderr
    assert task not in {row["task_id"] for row in samples.tables(home)["formulacode"]}
    done = samples.fc_data(home, "publish", "--month", "2026-01", "--force")
    assert done.returncode == 0, done.stderr
    state = publication.look(dataset)
    assert list(state.manifest.months["2026-01"].records) == others
    assert list(state.manifest.versions) == [*before.manifest.versions, "formulacode@2026-01.1"]
    stored = {row["task_id"] for row in samples.tables(home)["formulacode"]}
    assert stored == {*others, *before.manifest.months["2026-02"].records}


def test_verified_times_are_real(undisturbed: Path) -> None:
    for row in samples.tables(undisturbed)["candidate_containers"]:
        assert [c["check"] for c in row["checks"] if c["outcome"] == "passed"] == [
            "build",
            "smoke",
            "profile",
        ]
        assert len(row["benchmarks"]) >= 10
        assert all(0 < b["seconds"] < 60 for b in row["benchmarks"])


def test_a_second_demo_repeats_no_item(undisturbed: Path) -> None:
    before = samples.tables(undisturbed)
    done = samples.fc_data(undisturbed.parent, "demo")
    assert done.returncode == 0, done.stderr
    for state in Ledger(f"sqlite:///{undisturbed / 'ledger.sqlite'}").progress().values():
        assert (state.done, state.skipped) == (0, state.total)
    assert samples.tables(undisturbed) == before


def _kill_when_running(home: Path, stage: int) -> None:
    """Start a stage and kill it, with all its children, as soon as the ledger shows it at work."""
    child = subprocess.Popen(
        samples.command(*_RANGE, "--stage", stage),
        env=samples.environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    ledger, deadline = Ledger(f"sqlite:///{home / 'ledger.sqlite'}"), time.monotonic() + 120
    met = False
    while not met and time.monotonic() < deadline and child.poll() is None:
        met = any(name == STAGES[stage].name for name, _ in ledger.progress())
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert met


def test_kill_9_in_every_stage_then_resume_gives_the_same_tables(
    tmp_path: Path, undisturbed: Path
) -> None:
    home = samples.home_with_sample(tmp_path / "home")
    for stage in STAGES:
        _kill_when_running(home, stage)
        done = samples.fc_data(home, *_RANGE, "--stage", stage, "--resume")
        assert done.returncode == 0, done.stderr
    assert samples.tables(home, _VOLATILE) == samples.tables(undisturbed, _VOLATILE)
    assert not list((home / "staging").iterdir())


def test_two_runs_of_the_same_months_at_once_converge(tmp_path: Path, undisturbed: Path) -> None:
    home = samples.home_with_sample(tmp_path / "home")
    stages = [f"--stage={n}" for n in range(1, 6)]
    runs = [
        subprocess.Popen(
            samples.command(*_RANGE, *stages),
            env=samples.environment(home),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for run in runs:
        _, errors = run.communicate(timeout=300)
        assert run.returncode == 0, errors
    found, wanted = samples.tables(home, _VOLATILE), samples.tables(undisturbed, _VOLATILE)
    assert found == {name: wanted[name] for name in found}
    assert len(found) == 5


def test_one_container_is_tried_on_the_neighbours_in_other_months(tmp_path: Path) -> None:
    home = samples.home_with_sample(tmp_path / "home")
    before = [argument for stage in range(1, 6) for argument in ("--stage", stage)]
    assert samples.fc_data(home, *_RANGE, *before).returncode == 0
    month = ("--start-date", "2026-01-01", "--end-date", "2026-02-01", "--stage", 6)
    done = samples.fc_data(home, *month, "--tasks-per-repo", 1, FC_MEASURE_TIMEOUT_S="0")
    assert done.returncode == 0, done.stderr
    assert "2026-02: " in done.stderr
    assert " neighbours of " in done.stderr
    tables = samples.tables(home)
    verified = {row["partition_month"].month for row in tables["candidate_containers"]}
    assert verified == {1, 2}
    assert len(tables["candidate_containers"]) == len(tables["candidate_prs"])
    ledger = Ledger(f"sqlite:///{home / 'ledger.sqlite'}")
    assert ledger.neighbors() == []
    states = ledger.progress()
    capped = {
        m.month: state.inputs["tasks_per_repo"]
        for (name, m), state in states.items()
        if name == "candidate_containers"
    }
    assert capped == {1: "1", 2: "0"}
    options = ("--tasks-per-repo", 1, "--resume")
    again = samples.fc_data(home, *month, *options, FC_MEASURE_TIMEOUT_S="0")
    assert again.returncode == 0
    assert "neighbours" not in again.stderr


@pytest.mark.docker
def test_with_docker_containers_are_built_verified_pushed_and_published(
    tmp_path: Path, registry: str
) -> None:
    docker = {"DOCKER_HOST": os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")}
    if "FC_PYTHON_VERSIONS" in os.environ:
        docker["FC_PYTHON_VERSIONS"] = os.environ["FC_PYTHON_VERSIONS"]
    home = samples.home_with_sample(tmp_path / "home")
    targets = {"FC_REGISTRY": f"{registry}/fc", "FC_DATASET": "o/data", "HF_TOKEN": hub.TOKEN}
    targets |= {"HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "hf")}
    with hub.FakeHub() as fake:
        targets["HF_ENDPOINT"] = fake.url
        done = samples.fc_data(home, *_RANGE, **targets, **docker)
        assert done.returncode == 0, done.stderr
    assert samples.files_with(hub.TOKEN, home) == []
    assert list(fake.repositories["o/data"].tags) == ["formulacode@2026-01", "formulacode@2026-02"]
    published = fake.repositories["o/data"].commits[-1].files
    tables = samples.tables(home)
    containers = tables["candidate_containers"]
    assert len(containers) == len(tables["candidate_prs"]) >= 8
    assert {row["sandbox"] for row in containers} == {"docker"}
    assert len({row["image"] for row in containers}) == len(containers)
    records = tables["formulacode"]
    assert len(records) >= 8
    for record in records:
        assert record["image_name"].startswith(f"{registry}/fc/formulacode-wordmill:")
        name, digest = record["image_name"].partition("/")[2].split(":")[0], record["image_digest"]
        manifest = httpx.get(f"http://{registry}/v2/{name}/manifests/{digest}", headers=_MANIFEST)
        assert manifest.status_code == 200
        file = published[f"data/{record['partition_month']:%Y-%m}.parquet"]
        row = {name: record[name] for name in ("task_id", "image_name", "image_digest")}
        assert row in pq.read_table(io.BytesIO(file.content), columns=list(row)).to_pylist()
