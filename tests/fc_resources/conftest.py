"""What tests of the outside world share."""

import os
from pathlib import Path

import pytest

from fc_resources.docker import Docker


@pytest.fixture(scope="session")
def image() -> str:
    """The base image, which is here."""
    version = os.environ.get("FC_PYTHON_VERSIONS", "3.11").split(",")[0]
    name = os.environ.get("FC_BASE_IMAGE", "python:{python}-slim-bookworm").format(python=version)
    Docker(Path("/nonexistent")).image_id(name)
    return name
