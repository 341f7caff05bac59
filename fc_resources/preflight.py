"""Questions to neighbours before work: cheap, and changing nothing anywhere.

What is asked for the work itself has its own modules; what an answer means for which stage is told
by `fc_assets.commands.probes`. A time limit is that of one request; who asks ends what takes more.
"""

import contextlib
import json
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import docker
import docker.errors

from fc_resources import process
from fc_resources.docker_errors import translated
from fc_resources.errors import PermanentError, UnavailableError, one_line
from fc_resources.github import GitHub
from fc_resources.ledger import Ledger
from fc_resources.llm import Llm
from fc_resources.settings import Settings


def github_budgets(
    token: str, ledger: Ledger, url: str, timeout_s: float
) -> dict[str, tuple[int, int]]:
    """What is left of a token's limits, and of how many, by resource; asking costs none of it.

    Raises what `GitHub.rest` raises; a pause that the ledger knows is one of these.
    """
    github = GitHub([token], ledger, url=url, timeout_s=timeout_s, max_wait_s=0)
    body = github.ask(github.rest("/rate_limit", remember=False, tries=1))
    resources = json.loads(body)["resources"]
    return {name: (r["remaining"], r["limit"]) for name, r in resources.items()}


def greet(settings: Settings, ledger: Ledger, timeout_s: float) -> None:
    """Have the model answer once, at once; `StopError` if it does not. That is charged."""
    quick = {"fc_llm_timeout_s": timeout_s, "fc_llm_max_wait_s": 0.0}
    Llm.of(settings.model_copy(update=quick), ledger, threading.Event(), backoff_s=0.1).check()


def daemon(timeout_s: int) -> tuple[str, Path]:
    """Version of the Docker daemon and its folder; `UnavailableError` without one."""
    with _docker(timeout_s) as client:
        info = client.info()
        return info["ServerVersion"], Path(info["DockerRootDir"])


def images(names: Sequence[str], timeout_s: int) -> tuple[list[str], str | None]:
    """Which images are here, and why the first of the others cannot be pulled; None if it can.

    Only that one is asked for: registries count what is asked.
    """
    with _docker(timeout_s) as client:
        here = []
        for name in names:
            with contextlib.suppress(docker.errors.ImageNotFound):
                client.images.get(name)
                here.append(name)
        missing = [name for name in names if name not in here]
        if missing:
            try:
                client.images.get_registry_data(missing[0])
            except docker.errors.APIError as error:
                return here, f"{missing[0]} cannot be pulled ({one_line(error, 200)})"
        return here, None


@contextlib.contextmanager
def _docker(timeout_s: int) -> Iterator[Any]:
    with translated("asking"), contextlib.closing(docker.from_env(timeout=timeout_s)) as client:
        yield client


def hub_user(token: str | None, endpoint: str | None) -> str:
    """Who the Hub takes this token for; None is that of the client's own login."""
    # It takes a second to import.
    import httpx2
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    try:
        return huggingface_hub.HfApi(endpoint, token=token).whoami()["name"]
    except LocalTokenNotFoundError:
        raise PermanentError("there is no token; set HF_TOKEN to one that may write") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            why = f"the Hub refuses the token ({status}); set HF_TOKEN to one that may write"
            raise PermanentError(why) from None
        raise UnavailableError(f"the Hub answers {status}") from None
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise UnavailableError(f"the Hub does not answer ({one_line(error)})") from None


def version(program: str, timeout_s: float) -> str:
    """What `program --version` says; `PermanentError` when it cannot be run."""
    try:
        done = process.run([program, "--version"], timeout_s=timeout_s, env=process.environment())
    except OSError as error:
        raise PermanentError(f"{program} cannot be run: {error.strerror}; install it") from None
    if not done.ok:
        raise PermanentError(f"{program} --version fails: {one_line(Exception(done.text))}")
    return done.text


def free_bytes(folder: Path) -> int:
    """What is free where a folder is, or will be."""
    return shutil.disk_usage(existing(folder)).free


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def may_write(folder: Path) -> bool:
    """Whether a folder can be written, or made."""
    return existing(folder).is_dir() and os.access(existing(folder), os.W_OK | os.X_OK)
