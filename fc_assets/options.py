"""Choices of one run: the flags of `fc-data`, and what Dagster's launchpad offers as `options`.

What stays the same from run to run is in `fc_resources.settings`.
"""

from pathlib import Path

import pydantic

from fc_resources.errors import UsageError
from fc_resources.offline import OfflineSource
from fc_resources.settings import Settings

AGENTS = ("none", "claude", "codex", "gemini", "qwen")


class Options(pydantic.BaseModel, frozen=True):
    """How this run works on its items; what is left out takes the default."""

    force: bool = pydantic.Field(default=False, description="Compute finished items again.")
    n_concurrent: int | None = pydantic.Field(
        default=None, ge=1, description="Items at once; default 8, or 2 where containers are built."
    )
    tasks_per_repo: int | None = pydantic.Field(
        default=None,
        ge=1,
        description="Containers tried per repository and month, oldest merge first.",
    )
    min_stars: int = pydantic.Field(
        default=500, ge=0, description="Repositories known to have fewer stars are left out."
    )
    agent: str = pydantic.Field(default="none", description="Coding agent for containers: none.")
    offline_source: str | None = pydantic.Field(
        default=None,
        description="Parquet file or folder; default FC_OFFLINE_SOURCE, then FC_HOME/offline.",
    )

    def source(self, settings: Settings) -> OfflineSource | None:
        """The offline source if there is one; `UsageError` when GitHub cannot be asked either."""
        source = self.offline(settings)
        if source is None and not settings.github_tokens:
            raise UsageError(
                "no source of pull requests; set GH_TOKENS to ask GitHub, or give "
                "--offline-source PATH"
            )
        return source

    def git(self, settings: Settings) -> Path | None:
        """Folder with the repositories an offline source brings, if it brings any."""
        source = self.offline(settings)
        return None if source is None else source.git

    def offline(self, settings: Settings) -> OfflineSource | None:
        """The offline source of this run, if one is configured."""
        path = Path(self.offline_source) if self.offline_source else settings.offline_source
        return None if path is None else OfflineSource(path.absolute())


def check_agent(name: str) -> None:
    """`UsageError` for an agent this version cannot run."""
    if name not in AGENTS:
        raise UsageError(f"unknown agent {name!r}; known are {', '.join(AGENTS)}")
    if name != "none":
        raise UsageError(f"agent {name} is not supported by this version; use --agent none")
