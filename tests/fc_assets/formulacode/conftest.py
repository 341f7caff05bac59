"""A task whose container was verified here, for tests of images: made once, with Docker."""

import os
from pathlib import Path

import pytest

from fc_assets.candidate_containers.build import DockerBuilder
from fc_assets.candidate_containers.trial import Tools
from fc_assets.formulacode.records import Task
from fc_resources.docker import Docker
from fc_resources.git import Mirrors
from fc_resources.sandbox import Limits
from fc_resources.uv import Uv
from tests.fc_assets.candidate_containers import tiny
from tests.fc_assets.formulacode import material


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="session")
def tools(folder: Path) -> Tools:
    image = os.environ.get("FC_BASE_IMAGE", "python:{python}-slim-bookworm")
    builder = DockerBuilder(Docker(folder), image, Uv(folder).version, Limits(300, memory="2g"))
    mirrors = Mirrors(folder / "mirrors", local=folder / "git")
    return Tools(mirrors, builder, folder / "scripts", Limits(60, memory="2g"))


@pytest.fixture(scope="session")
def task(folder: Path, tools: Tools) -> Task:
    """A task whose container was verified here."""
    found = Uv(folder / "uv").pin(["asv", "setuptools"], tiny.PYTHON, None)
    assert found.pins is not None, found.log
    candidate = tiny.candidate(folder, tuple(found.pins))
    [row] = tiny.verify(candidate, tools).rows
    key = {"owner": "o", "repo": "tiny"}
    names = ("sha", "base_sha", "project_name", "project_root", "asv_config", "python_version")
    environment = {name: getattr(candidate, name) for name in names} | {"pins": found.pins}
    return material.task(
        1,
        candidate={**key, "merged_at": candidate.merged_at},
        container=dict(row),
        environment={**key, **environment, "system_packages": []},
        repository=key,
    )
