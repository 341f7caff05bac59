"""Docker: scripts run in limited containers, and images made of what they leave behind.

An image is a script run in its parent image and committed, not a Dockerfile built: so a build has
the limits of any other container (pids, capabilities, wall clock) and is killed, not abandoned.
What the scripts do is the caller's; which images stay is for `docker_images`.
"""

import contextlib
import functools
import re
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import docker.errors
import docker.types
import docker.utils
import requests.exceptions

from fc_resources import docker_disk, docker_scripts, marks
from fc_resources.docker_disk import TOO_LARGE_A_FILE, Disk
from fc_resources.docker_errors import ImageTooLargeError, OutputTooLargeError, translated
from fc_resources.docker_images import Images
from fc_resources.docker_session import KILLED, Session
from fc_resources.errors import StopError, TransientError, UnavailableError
from fc_resources.sandbox import Ended, Exceeded, Limits, Script
from fc_resources.settings import Settings

__all__ = ["IMAGE_LIMIT", "ROOT", "Docker", "ImageTooLargeError", "OutputTooLargeError", "Session"]

#: Where repository and environment are inside every image.
ROOT = "/workspace"
#: apt-get needs these three, with its own user switching off; measured on Debian 12.
_BUILD_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
_LABEL = "org.formulacode"
_STARTED_BY = f"{_LABEL}.process"
_HOME = f"{_LABEL}.home"
#: Images of large scientific libraries have up to 13 GB.
IMAGE_LIMIT = 32 * 1024 * 1024 * 1024
#: Without it an endless log fills the host's disk.
_LOG = docker.types.LogConfig(type="json-file", config={"max-size": "16m", "max-file": "2"})
_POLL_S = 1.0

#: Codes of the distribution protocol, as the daemon repeats them, after whatever it was at.
_REFUSED = re.compile(
    r"(^|: )(unauthorized|denied|pull access denied|no basic auth credentials)\b", re.IGNORECASE
)

#: Of the first process, by SIGTERM or SIGKILL: a script that fails is told by `_STEPS` instead.
_KILLED_CODES = (137, 143)


class Docker:
    """The local daemon, for one home. Nothing is contacted before the first use.

    `min_free_bytes` are left to the host: a script that would take them is killed.
    """

    def __init__(
        self, home: Path, lock_timeout_s: float = 3600, min_free_bytes: int = 2 * 2**30
    ) -> None:
        self._home = home
        self._timeout_s = lock_timeout_s
        self._min_free = min_free_bytes
        self._running: set[str] = set()
        self._made: Images | None = None
        self._mutex = threading.Lock()

    @classmethod
    def of(cls, settings: Settings) -> "Docker":
        """The daemon for the home of these settings."""
        return cls(settings.fc_home, min_free_bytes=int(settings.fc_free_gb * 2**30))

    @functools.cached_property
    def _client(self) -> Any:
        # Longer than the default: committing a large container answers late.
        return docker.from_env(timeout=300)

    @property
    def _images(self) -> Images:
        client = self._client
        with self._mutex:  # two of them would know of a half each what this process uses
            self._made = self._made or Images(client, self._home, self._timeout_s)
            return self._made

    @functools.cached_property
    def _root(self) -> str:
        return self._client.info()["DockerRootDir"]

    def answers(self) -> bool:
        """Whether a daemon can be used."""
        try:
            return bool(self._client.ping())
        except (docker.errors.DockerException, requests.exceptions.RequestException):
            return False

    def image_id(self, image: str) -> str:
        """The id of an image, pulled if it is not here; `UnavailableError` if it cannot be had."""
        with translated(f"image {image}"):
            try:
                return self._client.images.get(image).id
            except docker.errors.ImageNotFound:
                pass
            try:
                return self._client.images.pull(image).id
            except docker.errors.APIError as error:
                raise UnavailableError(f"image {image} cannot be pulled: {error}") from None

    def has(self, image: str) -> bool:
        """Whether an image is here; if so, no other process of this home prunes it from now on."""
        with translated(f"image {image}"):
            return self._images.use(image)

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
        with translated(f"image {image}"), self._images.building(image):
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
                    own = {_STARTED_BY: "", _HOME: "", **self._images.label}
                    changes = {"Cmd": ["bash"], "WorkingDir": ROOT, "Labels": {**labels, **own}}
                    container.commit(repository, tag, conf=changes)
                return ended

    def run(self, image: str, script: Script, limits: Limits, *, network: bool = False) -> Ended:
        """Run a script in a throw-away container without capabilities."""
        with self._container(image, [script], limits, network, [], {}) as container:
            return self._finish(container, [script], limits)

    def layers(self, image: str) -> list[str]:
        """Digests of an image's layers, lowest first, as the daemon computed them."""
        with translated(f"image {image}"):
            return self._client.images.get(image).attrs["RootFS"]["Layers"]

    def marginal_bytes(self, image: str, parent: str) -> int:
        """What an image has above its parent, in bytes of uncompressed layers."""
        with translated(f"image {image}"):
            return self._images.marginal_bytes(image, parent)

    def prune(self, max_bytes: int, keep: Collection[str] = ()) -> int:
        """Remove images of this home until they take `max_bytes` (0: any number); bytes freed.

        See `Images.prune`; to be called when what this process built was checked.
        """
        with translated("removing old images"):
            return self._images.prune(max_bytes, keep)

    def save(self, image: str, path: Path) -> None:
        """Write an image with all its layers to a file, to be read with `docker_layers`."""
        size = 0
        with translated(f"image {image}"), path.open("wb") as file:
            for chunk in self._client.images.get(image).save():
                size += len(chunk)
                if size > IMAGE_LIMIT:
                    raise ImageTooLargeError(f"{image} has more than {IMAGE_LIMIT >> 30} GiB")
                file.write(chunk)

    @contextlib.contextmanager
    def session(self, image: str, limits: Limits) -> Iterator[Session]:
        """A container as in `run`, in which one script after the other runs and leaves its traces.

        The limit of time is for each script, that of disk for all; whoever meets one ends the
        session.
        """
        waiting = Script("session", "exec sleep infinity")
        with self._container(image, [waiting], limits, False, [], {}) as container:
            disk = self._disk(container, limits)
            container.start()
            yield Session(container, limits.timeout_s, disk)

    def push(self, image: str, target: str, login: Mapping[str, str] | None = None) -> str:
        """Push `image` as `target`; its digest in the registry.

        `StopError` when the registry wants another `login`, `TransientError` on other failures.
        """
        with translated(f"push of {target}"):
            repository, tag = docker.utils.parse_repository_tag(target)
            self._client.images.get(image).tag(repository, tag)
            digest = ""
            for line in self._client.images.push(
                repository, tag, stream=True, decode=True, auth_config=login and dict(login)
            ):
                if "error" in line:
                    raise _refusal(f"push of {target}", line["error"], TransientError)
                digest = line.get("aux", {}).get("Digest", digest)
        if not digest:
            raise TransientError(f"push of {target}: the registry named no digest")
        return digest

    def pull(self, name: str, digest: str, login: Mapping[str, str] | None = None) -> str:
        """Pull `name` (with a tag) as the digest says, whatever has the tag now; `name@digest`.

        `StopError` when the registry wants another `login`, `UnavailableError` on other failures.
        """
        repository, tag = docker.utils.parse_repository_tag(name)
        image = f"{repository}@{digest}"
        with translated(f"pull of {image}"):
            try:
                pulled = self._client.images.pull(
                    repository, digest, auth_config=login and dict(login)
                )
            except docker.errors.APIError as error:
                told = str(error.explanation or error)
                raise _refusal(f"pull of {image}", told, UnavailableError) from None
            # Without a tag it would be taken for something that a killed process left.
            pulled.tag(repository, tag)
        return image

    def sweep(self) -> int:
        """Remove what killed processes of this home left: containers, and images without a name.

        Returns how many there were.
        """
        with translated("removing old containers"):
            old = [
                container
                for container in self._client.containers.list(
                    all=True, filters={"label": f"{_HOME}={self._home}"}, ignore_removed=True
                )
                if marks.is_gone(self._home, container.labels.get(_STARTED_BY, ""))
            ]
            for container in old:
                try:
                    container.remove(force=True, v=True)
                except docker.errors.APIError as error:
                    if error.status_code not in (404, 409):  # another process sweeps too
                        raise
            return len(old) + self._images.sweep()

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
        with translated(scripts[0].name):
            if not self._images.use(image):
                raise TransientError(f"{scripts[0].name}: image {image} is not here any more")
            container = self._client.containers.create(
                image,
                ["bash", "-c", docker_scripts.STEPS, "steps", *(script.name for script in scripts)],
                entrypoint=[],
                environment={**variables, **docker_scripts.VARIABLES},
                working_dir="/",
                network_mode="bridge" if network else "none",
                mem_limit=limits.memory,
                memswap_limit=limits.memory,
                nano_cpus=int(limits.cpus * 1e9),
                pids_limit=limits.pids,
                ulimits=[docker_disk.one_file(limits)],
                cap_drop=["ALL"],
                cap_add=capabilities,
                security_opt=["no-new-privileges"],
                init=True,
                log_config=_LOG,
                labels={**labels, _STARTED_BY: marks.own(self._home), _HOME: str(self._home)},
            )
            with self._mutex:
                self._running.add(container.id)
            try:
                container.put_archive("/", docker_scripts.archive(scripts))
                yield container
            finally:
                with self._mutex:
                    self._running.discard(container.id)
                container.remove(force=True, v=True)

    def _disk(self, container: Any, limits: Limits) -> Disk:
        """The watch of a container about to start; `TransientError` if the host is full already."""
        disk = Disk(container, self._root, limits, self._min_free)
        disk.is_over()
        return disk

    def _finish(self, container: Any, scripts: Sequence[Script], limits: Limits) -> Ended:
        """Start and wait; at a limit the container is killed, not only given up on."""
        disk = self._disk(container, limits)
        started = time.monotonic()
        container.start()
        code: int | None = None
        exceeded: Exceeded | None = None
        while exceeded is None and (code := _exit_code(container)) is None:
            if time.monotonic() - started >= limits.timeout_s:
                exceeded = "time"
            elif disk.is_over():
                exceeded = "disk"
        seconds = time.monotonic() - started
        if code is None:
            with contextlib.suppress(docker.errors.APIError):
                container.kill()
        elif disk.is_over_now() or code == TOO_LARGE_A_FILE:
            exceeded = "disk"
        elif code and container.client.api.inspect_container(container.id)["State"]["OOMKilled"]:
            exceeded = "memory"
        log = docker_scripts.text(container.logs(tail=2000))
        output = {} if code is None else docker_scripts.output(container)
        failed = output.pop("failed", b"").decode("utf-8", "replace").strip()
        known = failed if failed in {script.name for script in scripts} else scripts[-1].name
        if not failed and exceeded is None and code in _KILLED_CODES:
            raise TransientError(f"{known}: somebody killed its container (exit code {code})")
        return Ended(known, KILLED if code is None else code, log, exceeded, seconds, output)


def _refusal(what: str, told: str, otherwise: type[TransientError]) -> Exception:
    """What a registry's refusal means, as the daemon tells it."""
    if _REFUSED.search(told):
        return StopError(f"{what}: {told}; set DOCKERHUB_USERNAME and DOCKERHUB_TOKEN")
    return otherwise(f"{what}: {told}")


def _exit_code(container: Any) -> int | None:
    """The exit code as soon as there is one; None while it runs, after a while.

    A daemon that stopped answering is not mistaken for a script that runs.
    """
    try:
        return container.wait(timeout=_POLL_S)["StatusCode"]
    except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError):
        container.reload()
        return None
