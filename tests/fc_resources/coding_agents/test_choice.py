"""Which agent is used, on machines that have some of them."""

from collections.abc import Iterator
from pathlib import Path

import pydantic
import pytest

from fc_resources.coding_agents import choice, jail
from fc_resources.coding_agents.agent import Access
from fc_resources.errors import UsageError
from tests.fakes import agent_tools

KEY = Access(pydantic.SecretStr("sk-test-0123456789abcdef"), model="given")


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What was found out about the machine is remembered by the process."""
    forget()
    yield
    forget()


def forget() -> None:
    for found in (jail.tool, jail.program, jail._obstacle, jail._unusable):
        found.cache_clear()


def install(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).write_text("#!/bin/sh\nexit 0\n")
        (folder / name).chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_without_tools_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choice.available({"claude": KEY}) == []
    assert choice.choose(None, {"claude": KEY}) is None
    assert choice.choose("none", {"claude": KEY}) is None
    with pytest.raises(UsageError, match=r"claude is not installed \(npm install -g @anthropic"):
        choice.choose("claude", {"claude": KEY})
    with pytest.raises(UsageError, match="no agent 'copilot'; name claude, codex, gemini, qwen"):
        choice.choose("copilot", {})


def test_a_key_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", install(tmp_path, "codex", "gemini"))
    with pytest.raises(UsageError, match="GEMINI_API_KEY is not set, so that gemini has no model"):
        choice.choose("gemini", {})
    with pytest.raises(UsageError, match="OPENAI_API_KEY is not set, so that codex has no model"):
        choice.choose("codex", {"codex": Access(pydantic.SecretStr(""))})
    with pytest.raises(UsageError, match="FC_AGENT_MODEL is not set"):
        choice.choose("qwen", {"qwen": Access(KEY.key)})


def test_without_bubblewrap_none_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "codex", "choom", "prlimit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="bwrap is not installed"):
        choice.choose("codex", {"codex": KEY})
    install(tmp_path, "bwrap")
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho bwrap: No permissions >&2; exit 1\n")
    (tmp_path / "choom").write_text('#!/bin/sh\nshift 3; exec "$@"\n')
    forget()
    with pytest.raises(UsageError, match=r"bubblewrap does not work here \(bwrap: No permissions"):
        choice.choose("codex", {"codex": KEY})


def test_a_probe_that_tells_nothing_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = install(tmp_path, "codex", "bwrap", "choom", "prlimit")
    monkeypatch.setenv("PATH", path)
    monkeypatch.setattr(jail, "_PROBE_S", 0.2)
    (tmp_path / "choom").write_text('#!/bin/sh\nshift 3; exec "$@"\n')
    (tmp_path / "prlimit").write_text('#!/bin/sh\nshift 2; exec "$@"\n')
    (tmp_path / "bwrap").write_text("#!/bin/sh\nsleep 5\n")
    found = jail.tool("codex", path)
    assert found is not None
    assert jail.obstacle() == "bubblewrap does not work here (no answer in 0.2 s)"
    assert "does not run under bubblewrap (no answer in 0.2 s)" in str(jail.unusable(found))
    (tmp_path / "bwrap").write_text("neither script nor program")
    assert "Exec format error" in str(jail.obstacle())
    (tmp_path / "bwrap").write_text("#!/bin/sh\nexit 0\n")
    monkeypatch.setattr(jail, "_PROBE_S", 30)
    assert jail.obstacle() is None
    assert jail.unusable(found) is None
    # The programs are those that were found first.
    monkeypatch.setenv("PATH", "/nonexistent")
    assert jail.program("bwrap") == str(tmp_path / "bwrap")


@pytest.mark.agents
def test_the_first_that_runs_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = install(tmp_path, "claude", "codex", "gemini", "qwen")
    (tmp_path / "claude").write_text("#!/bin/sh\necho needs another libc >&2; exit 1\n")
    monkeypatch.setenv("PATH", path)
    access = {"claude": KEY, "codex": KEY, "qwen": KEY}
    found = choice.choose(None, access)
    assert found is not None
    assert found.name == "codex"
    assert [agent.name for agent in choice.available(access)] == ["codex", "qwen"]
    with pytest.raises(UsageError, match=r"claude does not run under bubblewrap \(needs another"):
        choice.choose("claude", access)


@pytest.mark.agents
def test_all_four_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", agent_tools.path())
    access = dict.fromkeys(choice.AGENTS, KEY)
    assert [agent.name for agent in choice.available(access)] == list(choice.AGENTS)
