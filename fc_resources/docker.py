"""Docker: scripts run in limited containers, and images made of what they leave behind.

An image is a script run in its parent image and committed, not a Dockerfile built: so a build has
the limits of any other container (pids, capabilities, wall clock) and is killed, not abandoned.
What the scripts do is the caller's.
"""

import contextlib
import functools
import io
import os
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import docker.errors
import docker.types
import docker.utils
import requests.exceptions

from fc_resources import locks, process
from fc_resources.errors import PermanentError, TransientError, UnavailableError
from fc_resources.sandbox import LOG_LIMIT, OUTPUT_LIMIT, Ended, Limits, Script

_INPUT, _OUTPUT = "/fc/input", "/fc/output"
#: Where repository and environment are inside every image.
ROOT = "/workspace"
#: apt-get needs these three, with its own user switching off; measured on Debian 12.
_BUILD_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
_LABEL = "org.formulacode"
_STARTED_BY = f"{_LABEL}.pid"
_HOME = f"{_LABEL}.home"
_KILLED = 137
#: Images of large scientific libraries have up to 13 GB.
IMAGE_LIMIT = 32 * 1024 * 1024 * 1024
#: Without it an endless log fills the host's disk.
_LOG = docker.types.LogConfig(type="json-file", config={"max-size": "16m", "max-file": "2"})
#: Run scripts in order, name the one that fails, and leave no input behind in an image.
_STEPS = """
code=0
rm -rf "$FC_OUTPUT"  # an image brings what its own scripts left
mkdir -p "$FC_OUTPUT"
for script in "$@"; do
    bash "$FC_INPUT/$script" || { code=$?; echo "$script" > "$FC_OUTPUT/failed"; break; }
done
rm -rf "$FC_INPUT"
exit "$code"
"""
#: One script of a session; a log without end must not fill the disk.
_STEP = f"""
rm -rf "$FC_OUTPUT"
mkdir -p "$FC_OUTPUT"
bash "$FC_INPUT/$0" 2>&1 | tail -c {LOG_LIMIT} > /fc/log
code=${{PIPESTATUS[0]}}
mv /fc/log "$FC_OUTPUT/log"
rm -rf "$FC_INPUT"
exit "$code"
"""
_POLL_S = 0.1


class ImageTooLargeError(PermanentError):
    """An image has more than `IMAGE_LIMIT` to save."""


class OutputTooLargeError(PermanentError):
    """A script left more than `OUTPUT_LIMIT` in its output folder."""


class Docker:
    """The local daemon, for one home. Nothing is contacted before the first use."""

    def __init__(self, home: Path, lock_timeout_s: float = 3600) -> None:
        self._home = home
        self._timeout_s = lock_timeout_s
        self._running: set[str] = set()
        self._mutex = threading.Lock()

    @functools.cached_property
    def _client(self) -> Any:
        # Longer than the default: committing a large container answers late.
        return docker.from_env(timeout=300)

    def answers(self) -> bool:
        """Whether a daemon can be used."""
        try:
            return bool(self._client.ping())
        except (docker.errors.DockerException, requests.exceptions.RequestException):
            return False

    def image_id(self, image: str) -> str:
        """The id of an image, pulled if it is not here; `UnavailableError` if it cannot be had."""
        with _translated(f"image {image}"):
            try:
                return self._client.images.get(image).id
            except docker.errors.ImageNotFound:
                pass
            try:
                return self._client.images.pull(image).id
            except docker.errors.APIError as error:
                raise UnavailableError(f"image {image} cannot be pulled: {error}") from None

    def has(self, image: str) -> bool:
        """Whether an image is here."""
        with _translated(f"image {image}"):
            try:
                self._client.images.get(image)
            except docker.errors.ImageNotFound:
                return False
        return True

    def build(
        self,
        image: str,
        parent: str,
        scripts: Sequence[Script],
        limits: Limits,
        labels: Mapping[str, str],
    ) -> Ended | None:
        """Make `image` from `parent` by scripts with network; None when it was there already.

        The limits hold for all scripts together; the result is that of the last one that ran.
        """
        lock = self._home / "locks" / "images" / f"{image.replace('/', '_').replace(':', '_')}.lock"
        with locks.exclusive(lock, self._timeout_s):
            if self.has(image):
                return None
            with self._container(
                parent, scripts, limits, True, _BUILD_CAPABILITIES, labels
            ) as container:
                ended = self._finish(container, scripts, limits)
                if ended.ok:
                    repository, tag = docker.utils.parse_repository_tag(image)
                    # An image keeps its container's labels; with ours, `sweep` would remove what
                    # a user runs from it.
                    own = {_STARTED_BY: "", _HOME: ""}
                    changes = {"Cmd": ["bash"], "WorkingDir": ROOT, "Labels": {**labels, **own}}
                    container.commit(repository, tag, conf=changes)
                return ended

    def run(self, image: str, script: Script, limits: Limits, *, network: bool = False) -> Ended:
        """Run a script in a throw-away container without capabilities."""
        with self._container(image, [script], limits, network, [], {}) as container:
            return self._finish(container, [script], limits)

    def layers(self, image: str) -> list[str]:
        """Digests of an image's layers, lowest first, as the daemon computed them."""
        with _translated(f"image {image}"):
            return self._client.images.get(image).attrs["RootFS"]["Layers"]

    def save(self, image: str, path: Path) -> None:
        """Write an image with all its layers to a file, to be read with `docker_layers`."""
        size = 0
        with _translated(f"image {image}"), path.open("wb") as file:
            for chunk in self._client.images.get(image).save():
                size += len(chunk)
                if size > IMAGE_LIMIT:
                    raise ImageTooLargeError(f"{image} has more than {IMAGE_LIMIT >> 30} GiB")
                file.write(chunk)

    @contextlib.contextmanager
    def session(self, image: str, limits: Limits) -> Iterator["Session"]:
        """A container as in `run`, in which one script after the other runs and leaves its traces.

        The limit of time is for each script; whoever meets it ends the session.
        """
        waiting = Script("session", "exec sleep infinity")
        with self._container(image, [waiting], limits, False, [], {}) as container:
            container.start()
            yield Session(container, limits.timeout_s)

    def push(self, image: str, target: str) -> str:
        """Push `image` as `target`; its digest in the registry. `TransientError` on failure."""
        with _translated(f"push of {target}"):
            repository, tag = docker.utils.parse_repository_tag(target)
            self._client.images.get(image).tag(repository, tag)
            digest = ""
            for line in self._client.images.push(repository, tag, stream=True, decode=True):
                if "error" in line:
                    raise TransientError(f"push of {target}: {line['error']}")
                digest = line.get("aux", {}).get("Digest", digest)
        if not digest:
            raise TransientError(f"push of {target}: the registry named no digest")
        return digest

    def sweep(self) -> int:
        """Remove containers of this home whose process is gone; how many there were."""
        with _translated("removing old containers"):
            old = [
                container
                for container in self._client.containers.list(
                    all=True, filters={"label": f"{_HOME}={self._home}"}, ignore_removed=True
                )
                if not process.alive(int(container.labels.get(_STARTED_BY, "0") or 0))
            ]
            for container in old:
                try:
                    container.remove(force=True, v=True)
                except docker.errors.APIError as error:
                    if error.status_code not in (404, 409):  # another process sweeps too
                        raise
        return len(old)

    def kill_all(self) -> None:
        """Remove every container running for this process; for a second Ctrl-C."""
        with self._mutex:
            for identifier in self._running:
                with contextlib.suppress(docker.errors.APIError):
                    self._client.api.remove_container(identifier, force=True, v=True)

    @contextlib.contextmanager
    def _container(
        self,
        image: str,
        scripts: Sequence[Script],
        limits: Limits,
        network: bool,
        capabilities: list[str],
        labels: Mapping[str, str],
    ) -> Iterator[Any]:
        variables = {name: value for s in scripts for name, value in s.variables.items()}
        with _translated(scripts[0].name):
            container = self._client.containers.create(
                image,
                ["bash", "-c", _STEPS, "steps", *(script.name for script in scripts)],
                entrypoint=[],
                environment={**variables, "FC_INPUT": _INPUT, "FC_OUTPUT": _OUTPUT},
                working_dir="/",
                network_mode="bridge" if network else "none",
                mem_limit=limits.memory,
                memswap_limit=limits.memory,
                nano_cpus=int(limits.cpus * 1e9),
                pids_limit=limits.pids,
                cap_drop=["ALL"],
                cap_add=capabilities,
                security_opt=["no-new-privileges"],
                init=True,
                log_config=_LOG,
                labels={**labels, _STARTED_BY: str(os.getpid()), _HOME: str(self._home)},
            )
            with self._mutex:
                self._running.add(container.id)
            try:
                container.put_archive("/", _tar(scripts))
                yield container
            finally:
                with self._mutex:
                    self._running.discard(container.id)
                container.remove(force=True, v=True)

    def _finish(self, container: Any, scripts: Sequence[Script], limits: Limits) -> Ended:
        """Start and wait; at the limit the container is killed, not only given up on."""
        started, timed_out = time.monotonic(), False
        container.start()
        try:
            code = container.wait(timeout=limits.timeout_s)["StatusCode"]
        except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError):
            timed_out, code = True, _KILLED
            with contextlib.suppress(docker.errors.APIError):
                container.kill()
        seconds = time.monotonic() - started
        if timed_out and seconds < limits.timeout_s * 0.9:
            raise TransientError(f"{scripts[-1].name}: the Docker daemon stopped answering")
        log = container.logs(tail=2000).decode("utf-8", "replace")[-LOG_LIMIT:]
        output = {} if timed_out else _output(container)
        failed = output.pop("failed", b"").decode("utf-8", "replace").strip()
        known = failed if failed in {script.name for script in scripts} else scripts[-1].name
        return Ended(known, code, log, timed_out, seconds, output)


class Session:
    """A running container to run scripts in; made by `Docker.session`."""

    def __init__(self, container: Any, timeout_s: float) -> None:
        self._container = container
        self._timeout_s = timeout_s

    def run(self, script: Script, timeout_s: float | None = None) -> Ended:
        """Run a script with fresh input and output folders."""
        limit = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        client, started = self._container.client.api, time.monotonic()
        with _translated(script.name):
            self._container.put_archive("/", _tar([script]))
            own = {"FC_INPUT": _INPUT, "FC_OUTPUT": _OUTPUT}
            made = client.exec_create(
                self._container.id,
                ["bash", "-c", _STEP, script.name],
                environment={**script.variables, **own},
                workdir="/",
            )
            client.exec_start(made["Id"], detach=True)
            state = client.exec_inspect(made["Id"])
            while state["Running"] and time.monotonic() - started < limit:
                time.sleep(_POLL_S)
                state = client.exec_inspect(made["Id"])
            seconds = time.monotonic() - started
            if state["Running"]:
                with contextlib.suppress(docker.errors.APIError):
                    self._container.kill()
                return Ended(script.name, _KILLED, "", True, seconds)
            output = _output(self._container)
        log = output.pop("log", b"").decode("utf-8", "replace")[-LOG_LIMIT:]
        return Ended(script.name, state["ExitCode"], log, False, seconds, output)


def _tar(scripts: Sequence[Script]) -> bytes:
    """The inputs of scripts as an archive to unpack at `/`."""
    inputs = {script.name: script.content.encode() for script in scripts}
    for script in scripts:
        inputs |= script.files
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("fc", _INPUT[1:], _OUTPUT[1:]):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, content in inputs.items():
            entry = tarfile.TarInfo(f"{_INPUT[1:]}/{name}")
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _output(container: Any) -> dict[str, bytes]:
    """Regular files of the output folder, as data: nothing is unpacked onto the host."""
    try:
        stream, _ = container.get_archive(_OUTPUT)
    except docker.errors.NotFound:  # the script removed it
        return {}
    buffer = io.BytesIO()
    # Closed early, the daemon stops copying; else the container could not be removed.
    with contextlib.closing(stream):
        for chunk in stream:
            buffer.write(chunk)
            if buffer.tell() > OUTPUT_LIMIT:
                break
    if buffer.tell() > OUTPUT_LIMIT:
        raise OutputTooLargeError(f"a script left more than {OUTPUT_LIMIT >> 20} MiB of output")
    buffer.seek(0)
    files = {}
    with tarfile.open(fileobj=buffer) as archive:
        for entry in archive:
            content = archive.extractfile(entry) if entry.isfile() else None
            if content is not None:
                files[entry.name.partition("/")[2]] = content.read()
    return files


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """A refusal by the daemon is permanent, a daemon that does not answer is unavailable."""
    try:
        yield
    except docker.errors.APIError as error:
        kind = TransientError if error.is_server_error() else PermanentError
        raise kind(f"{what}: Docker says {error.explanation or error}") from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise UnavailableError(f"{what}: Docker does not answer ({error})") from error
