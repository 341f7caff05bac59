"""Which coding agent is used: the one that is named, or the first that works on this machine."""

from collections.abc import Iterator, Mapping

from fc_resources.coding_agents.agent import Access, CodingAgent
from fc_resources.coding_agents.claude import Claude
from fc_resources.coding_agents.codex import Codex
from fc_resources.coding_agents.gemini import Gemini
from fc_resources.coding_agents.qwen import Qwen
from fc_resources.errors import UsageError

#: By name, in the order in which they are looked for.
AGENTS: dict[str, type[CodingAgent]] = {
    agent.name: agent for agent in (Claude, Codex, Gemini, Qwen)
}


def available(access: Mapping[str, Access]) -> list[CodingAgent]:
    """Those that can be used here; `access` is by the agent's name."""
    return list(_usable(access))


def choose(name: str | None, access: Mapping[str, Access]) -> CodingAgent | None:
    """The agent called `name`; None for the first that can be used, `none` for no agent.

    `UsageError` says what to do when the one that is named cannot be used.
    """
    if name == "none":
        return None
    if name is None:
        return next(_usable(access), None)
    if name not in AGENTS:
        raise UsageError(f"there is no agent {name!r}; name {', '.join(AGENTS)} or none")
    agent = AGENTS[name](access.get(name, Access()))
    if why := agent.obstacle():
        raise UsageError(f"--agent {name} cannot be used: {why}")
    return agent


def _usable(access: Mapping[str, Access]) -> Iterator[CodingAgent]:
    agents = (agent(access.get(name, Access())) for name, agent in AGENTS.items())
    return (agent for agent in agents if agent.obstacle() is None)
