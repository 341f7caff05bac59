"""What verification is tested with: pins, and both ways to build."""

import os
from pathlib import Path

import pytest

from fc_assets.candidate_containers.build import Builder, DockerBuilder, ProcessBuilder
from fc_assets.candidate_containers.trial import Tools
from fc_resources.docker import Docker
from fc_resources.git import Mirrors
from fc_resources.sandbox import Limits
from fc_resources.uv import Uv
from tests.fc_assets.candidate_containers.tiny import PYTHON


@pytest.fixture(scope="session")
def pins(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    found = Uv(tmp_path_factory.mktemp("uv")).pin(["asv", "setuptools"], PYTHON, None)
    assert found.pins is not None, found.log
    return tuple(found.pins)


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def tools(request: pytest.FixtureRequest, tmp_path: Path, pins: tuple[str, ...]) -> Tools:
    limits = Limits(300, memory="2g")
    builder: Builder = ProcessBuilder(tmp_path / "sandboxes", limits)
    if request.param == "docker":
        image = os.environ.get("FC_BASE_IMAGE", "python:{python}-slim-bookworm")
        version = Uv(tmp_path).version
        builder = DockerBuilder(Docker(tmp_path), image, version, limits)
    mirrors = Mirrors(tmp_path / "mirrors", local=tmp_path / "git")
    return Tools(mirrors, builder, tmp_path / "scripts", Limits(60, memory="2g"))
