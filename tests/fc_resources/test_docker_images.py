"""The real daemon: which images of a home go, in which order, and what that frees."""

import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import docker as docker_sdk
import pytest

from fc_resources import docker_images
from fc_resources.docker import Docker
from fc_resources.errors import TransientError
from fc_resources.sandbox import Limits, Script
from tests import containers

pytestmark = pytest.mark.docker

_LIMITS = Limits(timeout_s=120, memory="256m", cpus=1, pids=64)
_MEBI = 1 << 20


@pytest.fixture(scope="module")
def client() -> Any:
    return docker_sdk.from_env()


@pytest.fixture(scope="module")
def source(image: str) -> str:
    """What the images of a test are built from."""
    return image


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def name(client: Any) -> Iterator[str]:
    """The repository of all images of a test, removed afterwards."""
    name = f"formulacode-test/{uuid.uuid4().hex}"
    yield name
    for container in containers.labelled(client, "test", name):
        container.remove(force=True)
    while found := client.api.images(all=True, filters={"label": f"test={name}"}):
        parents = {image["ParentId"] for image in found}
        for image in found:
            if image["Id"] not in parents:
                client.api.remove_image(image["Id"], force=True)


def _build(home: Path, image: str, parent: str, mebibytes: int) -> str:
    """Build an image in a process of its own, so to say: it is not in use afterwards."""
    script = Script("a.sh", f"head -c {mebibytes * _MEBI} /dev/urandom > /{uuid.uuid4().hex}")
    labels = {"test": image.partition(":")[0]}
    docker = Docker(home)
    ended = docker.build(image, parent, [script], _LIMITS, labels)
    assert ended is None or ended.ok
    docker.prune(1 << 60)
    return image


@pytest.fixture
def family(home: Path, name: str, source: str) -> tuple[str, str, str]:
    """A parent with two children, the second used last."""
    parent = _build(home, f"{name}:parent", source, 8)
    return parent, _build(home, f"{name}:a", parent, 4), _build(home, f"{name}:b", parent, 2)


def _here(client: Any, images: Sequence[str]) -> list[str]:
    found = {tag for image in client.api.images() for tag in image["RepoTags"] or []}
    return [image for image in images if image in found]


def test_an_image_costs_what_it_adds_to_its_parent(
    home: Path, source: str, family: tuple[str, str, str]
) -> None:
    parent, a, b = family
    docker = Docker(home)
    sizes = [docker.marginal_bytes(a, parent), docker.marginal_bytes(a, source)]
    assert [size // _MEBI for size in sizes] == [4, 12]
    assert docker.marginal_bytes(b, a) // _MEBI == 2
    assert docker.marginal_bytes(parent, a) == 0


def test_the_image_used_longest_ago_goes_first(
    home: Path, client: Any, source: str, family: tuple[str, str, str]
) -> None:
    parent, a, b = family
    docker = Docker(home)
    assert docker.has(a)
    expected = docker.marginal_bytes(b, parent)
    assert docker.prune(13 * _MEBI) == expected
    assert _here(client, [source, *family]) == [source, parent, a]
    expected = docker.marginal_bytes(a, source)
    assert docker.prune(1) == expected
    assert _here(client, [source, *family]) == [source]


def test_layers_in_common_count_once(home: Path, client: Any, family: tuple[str, str, str]) -> None:
    assert Docker(home).prune(15 * _MEBI) == 0
    assert _here(client, family) == list(family)


def test_without_a_budget_nothing_goes(
    home: Path, client: Any, family: tuple[str, str, str]
) -> None:
    assert Docker(home).prune(0) == 0
    assert _here(client, family) == list(family)


def test_what_is_to_be_kept_stays_with_its_parents(
    home: Path, client: Any, family: tuple[str, str, str]
) -> None:
    parent, a, _ = family
    freed = Docker(home).prune(1, keep=[a])
    assert freed // _MEBI == 2
    assert _here(client, family) == [parent, a]


def test_what_a_container_is_made_of_stays(
    home: Path, client: Any, name: str, family: tuple[str, str, str]
) -> None:
    parent, _, b = family
    client.images.get(b).tag(name, "too")
    docker = Docker(home)
    assert docker.has(f"{name}:too")
    client.containers.create(b, "true", labels={"test": name})
    assert docker.prune(1) // _MEBI == 4
    assert _here(client, [*family, f"{name}:too"]) == [parent, b, f"{name}:too"]


def test_what_another_process_uses_stays_until_that_ends(
    home: Path, client: Any, family: tuple[str, str, str]
) -> None:
    parent, a, _ = family
    code = (
        "import pathlib, sys; from fc_resources.docker import Docker; "
        "docker = Docker(pathlib.Path(sys.argv[1])); "
        "print(docker.has(sys.argv[2]), flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(home), a],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert Docker(home).prune(1) // _MEBI == 2
        assert _here(client, family) == [parent, a]
        other.kill()
    docker = Docker(home)
    docker.sweep()
    assert list((home / "locks" / "images-used").iterdir()) == []
    assert docker.prune(1) // _MEBI == 12
    assert _here(client, family) == []


def test_another_home_s_images_stay(
    home: Path, client: Any, tmp_path: Path, family: tuple[str, str, str]
) -> None:
    docker = Docker(tmp_path / "other")
    assert docker.has(family[1])
    assert docker.prune(1) == 0
    assert _here(client, family) == list(family)


def test_an_image_with_a_name_of_somebody_s_stays(
    home: Path, client: Any, name: str, family: tuple[str, str, str]
) -> None:
    parent, a, _ = family
    client.images.get(a).tag(f"{name}/mine", "1")
    assert Docker(home).prune(1) // _MEBI == 2
    assert _here(client, [*family, f"{name}/mine:1"]) == [parent, a, f"{name}/mine:1"]


def test_a_published_image_goes_with_the_registry_s_name(
    home: Path, client: Any, registry: str, family: tuple[str, str, str]
) -> None:
    published = f"{registry}/formulacode/test:1"
    Docker(home).push(family[1], published)
    assert Docker(home).prune(1) // _MEBI == 14
    assert _here(client, [*family, published]) == []


def test_a_parent_does_not_go_while_its_child_is_built(
    home: Path, client: Any, name: str, source: str
) -> None:
    stop, failed = threading.Event(), []

    def prune() -> None:
        docker = Docker(home)
        while not stop.is_set():
            try:
                docker.prune(1)
            except Exception as error:
                failed.append(error)

    pruning = threading.Thread(target=prune)
    pruning.start()
    builder, script = Docker(home), Script("a.sh", "echo 1 > /$RANDOM")
    images = [f"{name}:{number}" for number in range(8)]
    try:
        for parent, image in zip([source, *images], images, strict=False):
            ended = builder.build(image, parent, [script], _LIMITS, {"test": name})
            assert ended is not None
            assert ended.ok
            assert builder.run(image, script, _LIMITS).ok
    finally:
        stop.set()
        pruning.join(60)
    assert _here(client, images) == images
    assert failed == []


def test_who_finds_an_image_gone_may_try_again(home: Path, name: str) -> None:
    with pytest.raises(TransientError, match="not here"):
        Docker(home).run(f"{name}:gone", Script("a.sh", "true"), _LIMITS)


# What a killed process leaves.


def test_an_image_that_lost_its_name_is_swept(
    home: Path,
    client: Any,
    name: str,
    source: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = _build(home, f"{name}:1", source, 1)
    identifier = client.images.get(image).id
    client.images.get(source).tag(name, "1")
    try:
        assert Docker(home).sweep() == 0  # another process could be about to name it
        monkeypatch.setattr(docker_images, "_UNNAMED_S", 0)
        assert Docker(tmp_path / "other").sweep() == 0
        assert Docker(home).sweep() == 1
    finally:
        client.images.remove(image)
    assert identifier not in {image["Id"] for image in client.api.images(all=True)}


_KILLED = """
import pathlib, sys
from fc_resources.docker import Docker
from fc_resources.sandbox import Limits, Script
script = Script("a.sh", "echo begun; head -c 300000000 /dev/urandom > /x; " + sys.argv[4])
docker = Docker(pathlib.Path(sys.argv[1]))
docker.build(sys.argv[2], sys.argv[3], [script], Limits(120), {"test": sys.argv[5]})
"""


@pytest.mark.parametrize("running", [True, False], ids=["in its script", "in its commit"])
def test_a_killed_build_leaves_nothing_after_a_sweep(
    home: Path, client: Any, name: str, source: str, running: bool
) -> None:
    image, script = f"{name}:1", "sleep 600" if running else "true"
    child = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(home), image, source, script, name]
    )
    wanted, deadline = "running" if running else "exited", time.monotonic() + 60
    while wanted not in {container.status for container in containers.of_home(client, home)}:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.5)
    child.kill()
    child.wait()
    Docker(home).sweep()
    assert containers.of_home(client, home) == []
    # The daemon may finish the commit by itself; what is there then is whole.
    again = Docker(home).build(image, source, [Script("a.sh", "fallocate -l 300000000 /x")],
                               _LIMITS, {"test": name})  # fmt: skip
    assert again is None or again.ok
    size = Docker(home).run(image, Script("b.sh", "stat -c %s /x"), _LIMITS).log
    assert size == "300000000\n"
