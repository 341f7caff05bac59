"""A running container in which one script after the other runs, within the limits of a run."""

import contextlib
import time
from typing import Any

import docker.errors

from fc_resources import docker_scripts
from fc_resources.docker_disk import TOO_LARGE_A_FILE, Disk
from fc_resources.docker_errors import translated
from fc_resources.sandbox import Ended, Script

#: Exit code of what was killed.
KILLED = 137
_POLL_S = 0.1


class Session:
    """A running container to run scripts in; made by `Docker.session`."""

    def __init__(self, container: Any, timeout_s: float, disk: Disk) -> None:
        self._container = container
        self._timeout_s = timeout_s
        self._disk = disk

    def run(self, script: Script, timeout_s: float | None = None) -> Ended:
        """Run a script with fresh input and output folders; at a limit the session ends."""
        limit = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        client, started = self._container.client.api, time.monotonic()
        with translated(script.name):
            self._container.put_archive("/", docker_scripts.archive([script]))
            made = client.exec_create(
                self._container.id,
                ["bash", "-c", docker_scripts.STEP, script.name],
                environment={**script.variables, **docker_scripts.VARIABLES},
                workdir="/",
            )
            client.exec_start(made["Id"], detach=True)
            state, over = client.exec_inspect(made["Id"]), False
            while state["Running"] and not over and time.monotonic() - started < limit:
                time.sleep(_POLL_S)
                over = self._disk.is_over()
                state = client.exec_inspect(made["Id"])
            seconds = time.monotonic() - started
            over = over or (not state["Running"] and self._disk.is_over_now())
            if state["Running"] or over:
                with contextlib.suppress(docker.errors.APIError):
                    self._container.kill()
                return Ended(script.name, KILLED, "", "disk" if over else "time", seconds)
            output = docker_scripts.output(self._container)
        log = docker_scripts.text(output.pop("log", b""))
        exceeded = "disk" if state["ExitCode"] == TOO_LARGE_A_FILE else None
        return Ended(script.name, state["ExitCode"], log, exceeded, seconds, output)
