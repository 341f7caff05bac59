"""Choices of one run: the flags of `fc-data`, and what Dagster's launchpad offers as `options`.

What stays the same from run to run is in `fc_resources.settings`.
"""

from pathlib import Path

import pydantic

from fc_resources.coding_agents import choice
from fc_resources.coding_agents.agent import Access, CodingAgent
from fc_resources.errors import UsageError
from fc_resources.offline import OfflineSource
from fc_resources.settings import Settings

#: Who may have tried a container.
AGENTS = ("none", *choice.AGENTS)


class Options(pydantic.BaseModel, frozen=True):
    """How this run works on its items; what is left out takes the default."""

    force: bool = pydantic.Field(default=False, description="Compute finished items again.")
    n_concurrent: int | None = pydantic.Field(
        default=None, ge=1, description="Items at once; default 8, or 2 where containers are built."
    )
    tasks_per_repo: int | None = pydantic.Field(
        default=None,
        ge=0,
        description="Containers tried per repository and month, oldest merge first; neighbours of "
        "what works are tried all the same, with 0 only they.",
    )
    min_stars: int = pydantic.Field(
        default=500, ge=0, description="Repositories known to have fewer stars are left out."
    )
    agent: str = pydantic.Field(
        default="auto",
        description="Coding agent for containers: claude, codex, gemini, qwen, none, or auto, "
        "which is the first of these that is installed and has a key.",
    )
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

    def coding_agent(self, settings: Settings) -> CodingAgent | None:
        """The agent of this run, if any; `UsageError` when the one that is named cannot be used."""
        name = None if self.agent == "auto" else self.agent
        claude, openai = settings.anthropic_api_key, settings.openai_api_key
        # Nobody's subscription is spent unasked.
        claude = claude or (settings.claude_code_oauth_token if name else None)
        model = settings.fc_agent_model
        access = {
            "claude": Access(claude, settings.anthropic_base_url, model),
            "codex": Access(openai, settings.openai_base_url, model),
            "gemini": Access(settings.gemini_api_key, settings.google_gemini_base_url, model),
            "qwen": Access(openai, settings.openai_base_url, model),
        }
        return choice.choose(name, access)

    def offline(self, settings: Settings) -> OfflineSource | None:
        """The offline source of this run, if one is configured."""
        path = Path(self.offline_source) if self.offline_source else settings.offline_source
        return None if path is None else OfflineSource(path.absolute())
