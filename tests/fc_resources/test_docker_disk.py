"""The real daemon: what happens to a container that takes too much disk, and to a full host."""

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker as docker_sdk
import pytest

from fc_resources import docker_disk
from fc_resources.docker import Docker
from fc_resources.docker_disk import Disk
from fc_resources.errors import PermanentError, TransientError
from fc_resources.sandbox import Limits, Script

pytestmark = pytest.mark.docker

_LIMITS = Limits(timeout_s=120, memory="256m", cpus=1, pids=64, disk="64m")
_ENDLESS_S = 3600
_MANY = "for i in $(seq 1000); do head -c 1000000 /dev/zero > /many$i; done; "
_MEMORY_FILES = Path("/dev/shm")


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    return Docker(tmp_path / "home")


@pytest.fixture
def container(image: str) -> Iterator[Any]:
    """A container that waits, with 1 MB of files of its own."""
    client = docker_sdk.from_env()
    container = client.containers.run(image, ["sleep", str(_ENDLESS_S)], detach=True)
    try:
        assert container.exec_run(["fallocate", "-l", "1000000", "/own"]).exit_code == 0
        yield container
    finally:
        container.remove(force=True)


@pytest.mark.parametrize(
    "content",
    [
        "fallocate -l 50g /big",
        "truncate -s 50g /big",
        "head -c 100000000 /dev/zero > /big",
        "python3 -c \"open('/big', 'wb').write(bytes(100_000_000))\" || exit 1",
        _MANY.replace("1000)", "100)"),
        f"{_MANY} sleep {_ENDLESS_S}",
    ],
    ids=["fallocate", "truncate", "write", "python", "many", "many and go on"],
)
def test_too_much_disk_is_a_failure_of_its_own_kind(
    docker: Docker, image: str, content: str
) -> None:
    ended = docker.run(image, Script("check.sh", content), _LIMITS)
    assert (ended.exceeded, ended.timed_out, ended.ok) == ("disk", False, False)
    with docker.session(image, _LIMITS) as session:
        ended = session.run(Script("check.sh", content))
    assert (ended.exceeded, ended.timed_out, ended.ok) == ("disk", False, False)


def test_what_is_removed_in_time_does_not_count(docker: Docker, image: str) -> None:
    content = "for i in $(seq 5); do fallocate -l 50m /x; rm /x; done; fallocate -l 50m /x"
    assert docker.run(image, Script("check.sh", content), _LIMITS).ok


def test_the_scripts_of_a_session_share_its_disk(docker: Docker, image: str) -> None:
    with docker.session(image, _LIMITS) as session:
        assert session.run(Script("a.sh", "fallocate -l 40m /a")).ok
        assert session.run(Script("b.sh", "fallocate -l 40m /b")).exceeded == "disk"
        with pytest.raises(PermanentError):
            session.run(Script("c.sh", "true"))


def test_no_image_is_made_of_too_much(docker: Docker, image: str) -> None:
    target = f"formulacode-test/{uuid.uuid4().hex}:tag"
    steps = [Script(f"{n}.sh", f"fallocate -l 40m /file{n}") for n in range(2)]
    ended = docker.build(target, image, steps, _LIMITS, {})
    assert ended is not None
    assert (ended.returncode, ended.exceeded) == (0, "disk")
    assert not docker.has(target)


def test_too_much_memory_is_told_from_other_failures(docker: Docker, image: str) -> None:
    killed = docker.run(
        image, Script("check.sh", "python3 -c 'bytearray(1 << 30)'; exit $?"), _LIMITS
    )
    failed = docker.run(image, Script("check.sh", "exit 137"), _LIMITS)
    survived = docker.run(
        image, Script("check.sh", "python3 -c 'bytearray(1 << 30)'; exit 0"), _LIMITS
    )
    assert (killed.returncode, killed.exceeded) == (137, "memory")
    assert (failed.returncode, failed.exceeded) == (137, None)
    assert (survived.ok, survived.exceeded) == (True, None)


# The host.


def test_a_full_host_is_not_the_fault_of_a_script(tmp_path: Path, image: str) -> None:
    docker = Docker(tmp_path, min_free_bytes=1 << 60)
    with pytest.raises(TransientError, match="FC_FREE_GB"):
        docker.run(image, Script("check.sh", "true"), _LIMITS)
    with pytest.raises(TransientError, match="FC_FREE_GB"), docker.session(image, _LIMITS):
        pass


@pytest.mark.skipif(not _MEMORY_FILES.is_dir(), reason="there is no file system of its own")
def test_a_host_that_fills_up_ends_what_runs(container: Any) -> None:
    root, filling = str(_MEMORY_FILES), _MEMORY_FILES / uuid.uuid4().hex
    left = docker_disk.free(root)
    assert left is not None
    kept = left - (8 << 20)
    modest = Disk(container, root, Limits(120, disk="10m"), kept)
    greedy = Disk(container, root, Limits(120, disk="900k"), kept)
    assert (modest.is_over(), greedy.is_over()) == (False, False)
    try:
        filling.write_bytes(bytes(16 << 20))
        with pytest.raises(TransientError, match="make room"):
            modest.is_over()
        assert greedy.is_over()
    finally:
        filling.unlink()


def test_a_daemon_elsewhere_is_watched_too(container: Any, tmp_path: Path) -> None:
    disk = Disk(container, str(tmp_path / "none"), Limits(120, disk="900k"), 1 << 60)
    deadline = time.monotonic() + 60
    while not disk.is_over():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_file_system_without_files_left_is_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert docker_disk.free(str(tmp_path / "none")) is None
    found = os.statvfs_result((4096, 4096, 1000, 900, 900, 10_000, 99, 99, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: found)
    assert docker_disk.free(str(tmp_path)) == 0
    found = os.statvfs_result((4096, 4096, 1000, 900, 900, 0, 0, 0, 0, 255))  # such as Btrfs
    assert docker_disk.free(str(tmp_path)) == 900 * 4096
