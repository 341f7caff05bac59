"""Images on their way to a real registry: pushed once, verified from there, built again if gone."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from fc_assets import work
from fc_assets.candidate_containers.trial import Tools
from fc_assets.formulacode import asset, records
from fc_assets.formulacode.images import Images, known
from fc_assets.formulacode.records import Task
from fc_assets.tables import FORMULACODE
from fc_resources.docker import Docker
from fc_resources.errors import PermanentError, StopError, UnavailableError
from fc_resources.ledger import Ledger
from fc_resources.registry import Registry
from fc_resources.warehouse import Warehouse
from tests.fc_assets.candidate_containers import tiny
from tests.fc_assets.formulacode import material
from tests.registries import PASSWORD, USER, RealRegistry

pytestmark = pytest.mark.docker


@pytest.fixture
def images(
    request: pytest.FixtureRequest, tools: Tools, folder: Path, locked_registry: RealRegistry
) -> Iterator[Images]:
    """A place of its own for each test; what it leaves with the daemon is removed."""
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    registry = Registry(f"{locked_registry.address}/{name}", USER, PASSWORD)
    yield Images(registry, Docker(folder), lambda: tools)
    client = Docker(folder)._client
    for image in client.images.list():
        for tag in image.tags:
            if tag.startswith(registry.place):
                client.images.remove(tag)


def _tags(images: Images, server: RealRegistry) -> list[str]:
    return server.tags(f"{images.registry.place.partition('/')[2]}/o-tiny")


def _target(images: Images, task: Task) -> str:
    recipe = (task.container or {})["image"].rpartition(":")[2]
    return f"{images.registry.place}/o-tiny:1-{recipe}"


def _wrong() -> str:
    """An image without the package."""
    base = os.environ.get("FC_BASE_IMAGE", "python:{python}-slim-bookworm")
    return base.format(python=tiny.PYTHON)


def _no_tools() -> Tools:
    raise AssertionError("nothing had to be verified")


def test_an_image_is_pushed_verified_and_then_has_its_number(
    task: Task, images: Images, locked_registry: RealRegistry
) -> None:
    digest = images.publish(task)
    recipe = (task.container or {})["image"].rpartition(":")[2]
    assert _tags(images, locked_registry) == ["1", f"1-{recipe}"]
    assert known(images.registry, task) == images.registry.digest("o-tiny", "1") == digest
    # Again, without a daemon: there is nothing to do.
    again = Images(images.registry, Docker(Path("/nonexistent")), _no_tools)
    assert again.publish(task) == digest


def test_what_a_killed_run_pushed_is_verified_and_not_pushed_again(
    task: Task, images: Images
) -> None:
    local = (task.container or {})["image"]
    digest = images.docker.push(local, _target(images, task), images.registry.login)
    assert images.registry.digest("o-tiny", "1") is None
    assert images.publish(task) == digest
    assert images.registry.digest("o-tiny", "1") == digest


def test_what_is_there_and_does_not_work_is_replaced(task: Task, images: Images) -> None:
    wrong = images.docker.push(_wrong(), _target(images, task), images.registry.login)
    digest = images.publish(task)
    assert known(images.registry, task) == images.registry.digest("o-tiny", "1") == digest != wrong


def test_what_has_its_number_is_verified_again_where_that_is_wanted(
    task: Task, images: Images
) -> None:
    wrong = images.docker.push(_wrong(), _target(images, task), images.registry.login)
    images.registry.tag("o-tiny", wrong, "1")
    assert images.publish(task) == wrong
    digest = dataclasses.replace(images, again=True).publish(task)
    assert known(images.registry, task) == images.registry.digest("o-tiny", "1") == digest != wrong


def test_what_was_pushed_and_does_not_work_gets_no_number(task: Task, images: Images) -> None:
    broken = dataclasses.replace(task, container={**(task.container or {}), "image": _wrong()})
    for _ in range(2):
        with pytest.raises(PermanentError, match="was pushed and fails smoke"):
            images.publish(broken)
    assert images.registry.digest("o-tiny", "1") is None


def test_an_image_that_is_gone_is_built_again_from_its_scripts(
    task: Task, images: Images, locked_registry: RealRegistry
) -> None:
    local = (task.container or {})["image"]
    client = images.docker._client
    client.images.remove(local, force=True)
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get(local)
    digest = images.publish(task)
    assert images.registry.digest("o-tiny", "1") == digest


def test_scripts_that_do_not_build_any_more_are_a_permanent_failure(
    task: Task, images: Images, locked_registry: RealRegistry
) -> None:
    container: dict[str, Any] = dict(task.container or {})
    scripts = [
        {**script, "content": "exit 3\n"} if script["name"] == "docker_build_run.sh" else script
        for script in container["scripts"]
    ]
    gone = container["image"].rpartition(":")[0] + ":pr-gone"
    changed = dataclasses.replace(task, container={**container, "scripts": scripts, "image": gone})
    with pytest.raises(PermanentError, match=r"could not be built again: docker_build_run\.sh"):
        images.publish(changed)
    assert _tags(images, locked_registry) == []


def test_a_locked_registry_gets_the_password_and_nobody_else_does(
    task: Task, images: Images, locked_registry: RealRegistry
) -> None:
    digest = images.publish(task)
    with locked_registry.client as client:
        name = f"{images.registry.place.partition('/')[2]}/o-tiny"
        manifest = client.get(f"{name}/manifests/{digest}").json()
        config = client.get(f"{name}/blobs/{manifest['config']['digest']}")
    assert config.status_code == 200
    assert PASSWORD not in config.text
    assert PASSWORD not in str(manifest)
    stranger = Images(Registry(images.registry.place), images.docker, images.tools)
    with pytest.raises(StopError, match="DOCKERHUB_TOKEN"):
        stranger.publish(task)
    local = (task.container or {})["image"]
    with pytest.raises(StopError) as told:
        images.docker.push(
            local, f"{images.registry.place}/x:1", {"username": USER, "password": "wrong-one"}
        )
    assert "wrong-one" not in str(told.value)


def test_a_record_whose_image_the_registry_lost_is_noticed(task: Task, images: Images) -> None:
    digest = images.publish(task)
    row = records.record(task, material.rules(registry=images.registry.place), digest)
    assert images.has(row)
    assert not images.has({**row, "image_digest": "sha256:" + "0" * 64})


def test_a_registry_that_goes_down_half_way_loses_nothing(
    task: Task, images: Images, locked_registry: RealRegistry, tmp_path: Path
) -> None:
    rules = material.rules(registry=images.registry.place)
    number = {"issue_number": 2}
    second = dataclasses.replace(task, candidate={**dict(task.candidate), **number})
    month = (task.candidate["merged_at"].date()).replace(day=1)
    found = [(month, asset.items([task, second], rules))]
    runner = work.Work(
        Ledger(f"sqlite:///{tmp_path}/ledger"), Warehouse(tmp_path / "w.duckdb"), 0.25
    )
    done: list[str] = []

    def publish(item: Any) -> work.Answer:
        answer = asset.publish(item, images, {})
        done.append(item[0].task_id)
        locked_registry.stop()
        return answer

    run = functools.partial(runner.run, FORMULACODE, concurrency=1)
    try:
        outcome = run(found, publish)
        assert [counter.failed for counter in outcome.months] == [1]
        [row] = runner.rows(FORMULACODE, month)
        with pytest.raises(UnavailableError):
            images.has(row)
    finally:
        locked_registry.start()
    run(found, functools.partial(asset.publish, images=images, kept={}))
    rows = list(runner.rows(FORMULACODE, month))
    assert done == ["o__tiny-1"]
    assert sorted(row["task_id"] for row in rows) == ["o__tiny-1", "o__tiny-2"]
    assert all(images.has(row) for row in rows)
