"""The real daemon: limits that hold, containers that do not stay, images made once, pushes.

What the scripts of a build do is tested with `fc_assets.candidate_containers`.
"""

import contextlib
import json
import socket
import socketserver
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker as docker_sdk
import pytest

from fc_resources import docker_layers, marks
from fc_resources.docker import ROOT, Docker, OutputTooLargeError
from fc_resources.errors import PermanentError, StopError, TransientError, UnavailableError
from fc_resources.sandbox import OUTPUT_LIMIT, Ended, Limits, Script
from tests import containers
from tests.fc_resources.test_marks import of_a_dead_process
from tests.registries import PASSWORD, USER, RealRegistry

pytestmark = pytest.mark.docker

_LIMITS = Limits(timeout_s=120, memory="256m", cpus=1, pids=64)


@pytest.fixture(scope="module")
def client() -> Any:
    return docker_sdk.from_env()


@pytest.fixture
def docker(tmp_path: Path, client: Any) -> Iterator[Docker]:
    home = tmp_path / "home"
    yield Docker(home)
    left = containers.of_home(client, home)
    for container in left:
        container.remove(force=True)
    assert left == []


@pytest.fixture
def target(client: Any) -> Iterator[str]:
    """The name of an image to build, removed afterwards."""
    name = f"formulacode-test/{uuid.uuid4().hex}"
    yield f"{name}:tag"
    for found in client.images.list(name):
        for tag in found.tags:
            client.images.remove(tag, force=True)


def _run(docker: Docker, image: str, content: str, limits: Limits = _LIMITS, **more) -> Ended:
    return docker.run(image, Script("check.sh", content, **more), limits)


def _build(
    docker: Docker, target: str, image: str, *scripts: str, labels: Mapping[str, str] | None = None
) -> Ended | None:
    named = [Script(f"{number}.sh", content) for number, content in enumerate(scripts)]
    return docker.build(target, image, named, _LIMITS, labels or {})


_CGROUP = "cat /sys/fs/cgroup/{} 2>/dev/null || cat /sys/fs/cgroup/{}"


def test_limits_hold_inside(docker: Docker, image: str) -> None:
    content = f"""
        {_CGROUP.format("memory.max", "memory/memory.limit_in_bytes")}
        {_CGROUP.format("pids.max", "pids/pids.max")}
        grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status | cut -f2
        ls /sys/class/net
    """
    lines = _run(docker, image, content).log.split()
    assert lines == [str(256 << 20), "64", "0" * 16, "0" * 16, "1", "lo"]


def test_a_build_has_network_and_three_capabilities(
    docker: Docker, image: str, target: str
) -> None:
    content = "ls /sys/class/net; grep CapEff /proc/self/status | cut -f2"
    ended = _build(docker, target, image, content)
    assert ended is not None
    assert set(ended.log.split()) >= {"eth0", f"{0b1011:016x}"}


def test_a_run_has_network_only_when_asked_and_no_capability(docker: Docker, image: str) -> None:
    script = Script("check.sh", "ls /sys/class/net; grep CapBnd /proc/self/status | cut -f2")
    ended = docker.run(image, script, _LIMITS, network=True)
    assert set(ended.log.split()) >= {"eth0", "0" * 16}


def test_the_host_is_not_visible(
    docker: Docker, image: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GH_TOKENS", "very-secret")
    ended = _run(docker, image, f"env; ls {tmp_path} /var/run/docker.sock; exit 0")
    assert "very-secret" not in ended.log
    assert ended.log.count("No such file") == 2


def test_a_script_has_its_files_and_variables_and_leaves_output(docker: Docker, image: str) -> None:
    content = 'mkdir $FC_OUTPUT/d; cat "$FC_INPUT/data" > $FC_OUTPUT/d/f; echo "$WORD"; exit 4'
    ended = _run(docker, image, content, variables={"WORD": "a b"}, files={"data": b"\xff\0"})
    assert (ended.name, ended.returncode, ended.log) == ("check.sh", 4, "a b\n")
    assert ended.output == {"d/f": b"\xff\0"}


def test_a_time_out_kills_the_container(docker: Docker, image: str, client: Any) -> None:
    started = time.monotonic()
    limits = Limits(timeout_s=2, memory="256m")
    ended = _run(docker, image, "trap '' TERM; echo begun; sleep 600 & wait; sleep 600", limits)
    assert ended.timed_out
    assert not ended.ok
    assert ended.log == "begun\n"
    assert time.monotonic() - started < 60


def test_a_failing_script_names_itself(docker: Docker, image: str, target: str) -> None:
    ended = _build(docker, target, image, "echo one", "echo two; exit 7", "echo three")
    assert ended is not None
    assert (ended.name, ended.returncode, ended.ok) == ("1.sh", 7, False)
    assert ended.log == "one\ntwo\n"
    assert not docker.has(target)


def test_the_end_of_a_long_log_is_kept(docker: Docker, image: str) -> None:
    ended = _run(docker, image, "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo the end")
    assert ended.log.endswith("x\nthe end\n")
    assert len(ended.log) == 20_000


def test_too_much_output_is_refused(docker: Docker, image: str) -> None:
    with pytest.raises(OutputTooLargeError, match="64 MiB"):
        _run(docker, image, f"truncate -s {OUTPUT_LIMIT * 100} $FC_OUTPUT/big")


def test_links_and_devices_are_no_output(docker: Docker, image: str) -> None:
    content = "cd $FC_OUTPUT; ln -s /etc/passwd link; ln -s / dir; mkfifo pipe; echo 1 > '..a'"
    assert _run(docker, image, content).output == {"..a": b"1\n"}


@pytest.mark.parametrize(
    "content",
    ["rm -r $FC_OUTPUT", "rm -r $FC_OUTPUT; ln -s /etc $FC_OUTPUT"],
)
def test_without_its_output_folder_a_script_has_none(
    docker: Docker, image: str, content: str
) -> None:
    ended = _run(docker, image, content)
    assert (ended.ok, ended.output) == (True, {})


def test_what_a_build_left_is_no_output_of_a_run(docker: Docker, image: str, target: str) -> None:
    planted = 'echo yes > "$FC_OUTPUT/verified"'
    assert _build(docker, target, image, planted) is not None
    assert _run(docker, target, "true").output == {}


def test_an_image_is_built_once_for_all_who_ask(
    docker: Docker, image: str, target: str, client: Any
) -> None:
    ended: list[Ended | None] = []
    build = lambda: ended.append(_build(docker, target, image, f"mkdir {ROOT}; sleep 1"))  # noqa: E731
    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(one is None for one in ended) == [False, True, True]
    assert client.images.get(target).id == docker.image_id(target)


def test_an_image_has_no_input_and_no_label_of_its_maker(
    docker: Docker, image: str, target: str, client: Any, tmp_path: Path
) -> None:
    _build(docker, target, image, f"mkdir {ROOT}", labels={"item": "a/b#1"})
    labels = client.images.get(target).labels
    assert labels["item"] == "a/b#1"
    assert str(tmp_path) not in json.dumps(labels)
    assert _run(docker, target, "ls /fc/input").log.split() == ["check.sh"]


def test_an_image_that_is_nowhere_is_unavailable(docker: Docker) -> None:
    with pytest.raises(UnavailableError, match="cannot be pulled"):
        docker.image_id("127.0.0.1:1/none:none")


def test_no_daemon_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    docker = Docker(tmp_path)
    assert not docker.answers()
    with pytest.raises(UnavailableError):
        docker.has("a:b")


# What stays.


def _orphans(client: Any, image: str, home: Path, mark: str, count: int = 1) -> Sequence[Any]:
    labels = {"org.formulacode.home": str(home), "org.formulacode.process": mark}
    return [client.containers.create(image, "true", labels=labels) for _ in range(count)]


def test_only_containers_of_dead_processes_of_this_home_are_swept(
    docker: Docker, image: str, client: Any, tmp_path: Path
) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    _orphans(client, image, home, of_a_dead_process(home), 2)
    kept = [
        *_orphans(client, image, home, marks.own(home)),
        *_orphans(client, image, other, of_a_dead_process(other)),
    ]
    try:
        assert docker.sweep() == 2
        for container in kept:
            container.reload()
    finally:
        for container in kept:
            container.remove(force=True)


def test_two_may_sweep_at_once(docker: Docker, image: str, client: Any, tmp_path: Path) -> None:
    _orphans(client, image, tmp_path / "home", of_a_dead_process(tmp_path / "home"), 6)
    swept: list[int] = []
    others = [Docker(tmp_path / "home") for _ in range(3)]
    threads = [threading.Thread(target=lambda d=d: swept.append(d.sweep())) for d in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(swept) == 3


def test_all_that_runs_can_be_killed(docker: Docker, image: str, tmp_path: Path) -> None:
    failed: list[Exception | Ended] = []

    def run() -> None:
        try:
            failed.append(_run(docker, image, "sleep 600"))
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(2)
    docker.kill_all()
    thread.join(60)
    assert len(failed) == 1
    assert not (isinstance(failed[0], Ended) and failed[0].ok)


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[socketserver.BaseServer]:
    """What stands between client and daemon from here on; `shutdown` cuts it."""
    daemon, address = "/var/run/docker.sock", str(tmp_path / "relay.sock")
    lines: list[socket.socket] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as beyond:
                beyond.connect(daemon)
                lines.extend([self.request, beyond])
                answers = threading.Thread(target=_pass, args=(beyond, self.request))
                answers.start()
                _pass(self.request, beyond)
                answers.join()

    class Relay(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

        def shutdown(self) -> None:
            super().shutdown()
            self.server_close()
            Path(address).unlink(missing_ok=True)
            for line in lines:
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    server = Relay(address, Handler)
    threading.Thread(target=server.serve_forever).start()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{address}")
    yield server
    server.shutdown()


def _pass(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.mark.skipif(not Path("/var/run/docker.sock").exists(), reason="the daemon is elsewhere")
def test_a_daemon_that_goes_away_is_not_the_script_s_end(
    client: Any, image: str, tmp_path: Path, relay: socketserver.BaseServer
) -> None:
    threading.Timer(3, relay.shutdown).start()
    try:
        with pytest.raises(UnavailableError, match="does not answer"):
            _run(Docker(tmp_path / "cut"), image, "sleep 600")
    finally:
        for container in containers.of_home(client, tmp_path / "cut"):
            container.remove(force=True)


# Several scripts in one container.


def test_scripts_of_a_session_leave_traces_for_the_next(docker: Docker, image: str) -> None:
    with docker.session(image, _LIMITS) as session:
        first = session.run(Script("a.sh", "echo 1 > /x; echo out; cat $FC_INPUT/f; exit 3",
                                   {}, {"f": b"in\n"}))  # fmt: skip
        second = session.run(
            Script("b.sh", 'cat /x; ls "$FC_INPUT"; echo "$A" > $FC_OUTPUT/y', {"A": "b"})
        )
    assert (first.returncode, first.log, first.output) == (3, "out\nin\n", {})
    assert (second.ok, second.log, second.output) == (True, "1\nb.sh\n", {"y": b"b\n"})


def test_a_session_has_the_limits_of_a_run(docker: Docker, image: str) -> None:
    content = "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status | cut -f2; ls /sys/class/net"
    with docker.session(image, _LIMITS) as session:
        lines = session.run(Script("a.sh", content)).log.split()
    assert lines == ["0" * 16, "0" * 16, "1", "lo"]


def test_a_script_that_takes_too_long_ends_its_session(docker: Docker, image: str) -> None:
    with docker.session(image, _LIMITS) as session:
        ended = session.run(Script("a.sh", "trap '' TERM; sleep 600"), 1)
        assert (ended.ok, ended.timed_out) == (False, True)
        with pytest.raises(PermanentError):
            session.run(Script("b.sh", "true"))


def test_a_log_without_end_is_cut(docker: Docker, image: str) -> None:
    with docker.session(image, _LIMITS) as session:
        ended = session.run(Script("a.sh", "head -c 90000000 /dev/zero | tr '\\0' x; echo end"))
    assert len(ended.log) == 20_000
    assert ended.log.endswith("xend\n")


# Images as data.


def test_a_saved_image_is_read_layer_by_layer(
    docker: Docker, image: str, target: str, tmp_path: Path
) -> None:
    _build(docker, target, image, f"mkdir {ROOT}; echo hello > {ROOT}/x; ln -s x {ROOT}/y")
    own = docker_layers.shared(docker.layers(target), docker.layers(image))
    assert own == len(docker.layers(image)) == len(docker.layers(target)) - 1
    docker.save(target, tmp_path / "image.tar")
    tree, entries, config = docker_layers.read(
        tmp_path / "image.tar", lambda entry, file: file.read() if entry.layer == own else None
    )
    found = tree.resolve(f"{ROOT}/y")
    assert found is not None
    assert (found[0], found[1].note, found[1].layer) == (f"{ROOT}/x", b"hello\n", own)
    assert b"WorkingDir" in config
    assert {entry.layer for entry in entries} == set(range(own + 1))


# Registries.


def test_a_push_returns_the_digest_to_pull_by(
    docker: Docker, image: str, registry: str, client: Any
) -> None:
    name = f"{registry}/formulacode/test"
    try:
        digest = docker.push(image, f"{name}:2026-01")
        assert client.images.get_registry_data(f"{name}:2026-01").id == digest
        assert client.images.get(f"{name}@{digest}").id == docker.image_id(image)
    finally:
        client.images.remove(f"{name}:2026-01")


def test_an_absent_registry_is_transient(docker: Docker, image: str, client: Any) -> None:
    with pytest.raises(TransientError, match="push of"):
        docker.push(image, "127.0.0.1:1/formulacode/test:tag")
    client.images.remove("127.0.0.1:1/formulacode/test:tag")


@pytest.mark.parametrize("login", [None, {"username": USER, "password": "wrong-one"}])
def test_who_is_not_let_in_is_stopped_and_told_what_to_set(
    docker: Docker,
    image: str,
    locked_registry: RealRegistry,
    client: Any,
    login: dict[str, str] | None,
) -> None:
    name = f"{locked_registry.address}/fc/locked"
    digest = locked_registry.upload("fc/locked", "1")
    try:
        for attempt in (
            lambda: docker.pull(f"{name}:1", digest, login),
            lambda: docker.push(image, f"{name}:2", login),
        ):
            with pytest.raises(StopError, match="DOCKERHUB_USERNAME and DOCKERHUB_TOKEN") as told:
                attempt()
            assert "wrong-one" not in str(told.value)
    finally:
        client.images.remove(f"{name}:2")


def test_what_the_registry_does_not_have_is_no_matter_of_passwords(
    docker: Docker, locked_registry: RealRegistry
) -> None:
    login = {"username": USER, "password": PASSWORD}
    with pytest.raises(UnavailableError, match="manifest unknown"):
        docker.pull(f"{locked_registry.address}/fc/denied:1", "sha256:" + "0" * 64, login)


def test_what_was_never_built_cannot_be_pushed(docker: Docker) -> None:
    with pytest.raises(PermanentError):
        docker.push("formulacode-test/none:none", "127.0.0.1:1/a:b")
