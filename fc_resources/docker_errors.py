"""What goes wrong with Docker, told as this project's errors."""

import contextlib
from collections.abc import Iterator

import docker.errors
import requests.exceptions

from fc_resources.errors import PermanentError, TransientError, UnavailableError


class ImageTooLargeError(PermanentError):
    """An image has more to save than is read of one."""


class OutputTooLargeError(PermanentError):
    """A script left more than `OUTPUT_LIMIT` in its output folder."""


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """A refusal by the daemon is permanent, a daemon that does not answer is unavailable."""
    try:
        yield
    except docker.errors.APIError as error:
        kind = TransientError if error.is_server_error() else PermanentError
        raise kind(f"{what}: Docker says {error.explanation or error}") from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise UnavailableError(f"{what}: Docker does not answer ({error})") from error
