"""From settings to what stage 6 builds, checks and measures with, and by which limits."""

import logging
from collections.abc import Sequence

from fc_assets import sample
from fc_assets.candidate_containers import traces
from fc_assets.candidate_containers.build import Builder, DockerBuilder, ProcessBuilder
from fc_assets.candidate_containers.stock import Candidate
from fc_assets.candidate_containers.trial import Tools
from fc_resources.docker import Docker
from fc_resources.errors import UnavailableError
from fc_resources.git import Mirrors
from fc_resources.sandbox import Limits
from fc_resources.settings import Settings
from fc_resources.uv import Uv

_log = logging.getLogger(__name__)


def tools(
    settings: Settings,
    mirrors: Mirrors,
    docker: Docker,
    uv: Uv,
    candidates: Sequence[Candidate],
) -> Tools:
    """What these candidates are verified with; `UnavailableError` where there is no sandbox."""
    return Tools(
        mirrors,
        builder(settings, docker, uv, candidates),
        settings.scripts,
        limits(settings, settings.fc_profile_timeout_s),
        secrets(settings),
        measuring(settings, candidates),
    )


def of(settings: Settings, candidates: Sequence[Candidate]) -> Tools:
    """`tools` of a home, where there is no Dagster to bring them."""
    uv, docker = Uv(settings.uv_cache), Docker.of(settings)
    return tools(settings, Mirrors.of(settings), docker, uv, candidates)


def secrets(settings: Settings) -> list[bytes]:
    """Every secret of the settings, as it must not be found in an image."""
    return traces.secrets(settings.secrets)


def measuring(settings: Settings, candidates: Sequence[Candidate]) -> Limits | None:
    """Limits of measuring, if it is wanted; for the demo's sample only if that was asked for."""
    is_chosen = "fc_measure_timeout_s" in settings.model_fields_set
    if not is_chosen and all(sample.ships(c.owner, c.repo, c.sha) for c in candidates):
        return None
    seconds = settings.fc_measure_timeout_s
    return limits(settings, seconds) if seconds else None


def limits(settings: Settings, timeout_s: float) -> Limits:
    """What a script may use, with a wall-clock limit in seconds."""
    bounds = (settings.fc_memory, settings.fc_cpus, settings.fc_pids, settings.fc_disk)
    return Limits(timeout_s, *bounds)


def builder(settings: Settings, docker: Docker, uv: Uv, candidates: Sequence[Candidate]) -> Builder:
    """Docker; without it the process sandbox, for the sample or whom the user trusts.

    Raises `UnavailableError` (one sentence) when neither may be used.
    """
    bounds = limits(settings, settings.fc_build_timeout_s)
    process = ProcessBuilder(settings.sandboxes, bounds)
    trusted = all(sample.ships(c.owner, c.repo, c.sha) for c in candidates)
    if settings.fc_sandbox == "process":
        if not trusted:
            _log.warning(
                "FC_SANDBOX=process: the code of these repositories runs on this machine as you, "
                "with your files in reach; do this only where nothing can be lost"
            )
        return process
    if settings.fc_sandbox != "none" and docker.answers():
        docker.sweep()
        return DockerBuilder(docker, settings.fc_base_image, uv.version, bounds)
    if settings.fc_sandbox == "auto" and trusted:
        return process
    raise UnavailableError(
        "no Docker daemon answers, and stages 6 and 7 need one: start Docker, or set "
        "FC_SANDBOX=process to run the code of these repositories on this machine as you"
    )
