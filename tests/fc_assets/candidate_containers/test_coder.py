"""A real coding agent (claude) against a loopback model, in containers: what its sessions make."""

import datetime
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fc_assets.candidate_containers.coder import Coder
from fc_assets.candidate_containers.contexts import Contexts
from fc_assets.candidate_containers.stock import Candidate
from fc_assets.candidate_containers.synthesizer import Synthesis, Synthesizer
from fc_assets.candidate_containers.trial import Tools
from fc_resources.ledger import Ledger
from tests.fakes import agent_tools
from tests.fakes.agent_models import AgentModel, Refused, Say, Shell
from tests.fc_assets.candidate_containers import tiny
from tests.fc_resources.coding_agents import sessions

pytestmark = [
    pytest.mark.docker,
    pytest.mark.agents,
    pytest.mark.parametrize("tools", ["docker"], indirect=True),
]
#: Builds with a variable that nothing tells of.
_STRANGE = {
    "setup.py": "import os\nfrom setuptools import setup\n"
    "assert 'TINY_BUILD' in os.environ, 'this wants TINY_BUILD'\nsetup()\n"
}
_SCRIPT = "scripts/docker_build_pkg.sh"
_BREAK = f"sed -i 's/^set -euo pipefail/&\\nexit 3/' {_SCRIPT}"
_FIX = f"sed -i 's/^exit 3/export TINY_BUILD=1/' {_SCRIPT}"


@pytest.fixture(autouse=True)
def _tools_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", agent_tools.path())


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


class Bench:
    """A synthesizer whose agent asks a model that says these steps."""

    def __init__(self, tools: Tools, ledger: Ledger, tmp_path: Path, steps: Sequence[Any]) -> None:
        self.model = AgentModel(steps)
        limits = {"timeout_s": 300, "max_tokens": 1_000_000, "pause_s": 600}
        limits |= {"max_wait_s": 60, "max_retries": 2}
        agent = sessions.agent("claude", self.model)
        coder = Coder(agent, ledger, tmp_path / "agents", **limits)
        self.synthesizer = Synthesizer(tools, Contexts(), coder)

    def synthesize(self, candidate: Candidate) -> Synthesis:
        with self.model:
            return self.synthesizer.synthesize(candidate)


def _steps(found: Synthesis) -> list[tuple[str, str | None]]:
    return [(attempt["step"], attempt["failure_stage"]) for attempt in found.attempts]


def test_it_reads_what_failed_and_mends_it(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...], ledger: Ledger
) -> None:
    look = Shell("cat TASK.md attempts/01-stock/failure.txt base/setup.py requirements.txt")
    steps = [look, Shell(f"{_BREAK}; ./verify"), Shell(f"{_FIX}; ./verify"), Say("It passes.")]
    bench = Bench(tools, ledger, tmp_path, steps)
    candidate = tiny.candidate(tmp_path, pins, **_STRANGE)
    found = bench.synthesize(candidate)
    build = "docker_build_pkg.sh"
    assert _steps(found) == [("stock", build), ("agent", build), ("agent", None)]
    told = [asked.text for asked in bench.model.asked]
    assert "this wants TINY_BUILD" in told[1]
    assert "FAILED at docker_build_pkg.sh" in told[2]
    assert "PASSED" in told[3]
    assert found.row is not None
    assert (found.row["origin"], found.row["step"]) == ("claude", "agent")
    last, spent = found.attempts[-1], bench.model.told
    assert (last["tool_calls"], last["tokens"]) == (3, spent.taken + spent.given)
    [bill] = ledger.bills()
    assert (bill.stage, bill.model, bill.usage.output_tokens) == (
        *("candidate_containers", "claude"),
        spent.given,
    )
    # A neighbour gets by without it.
    assert _steps(bench.synthesizer.synthesize(tiny.numbered(candidate, 2))) == [("similar", None)]
    assert len(bench.model.asked) == 4


def test_who_does_nothing_twice_is_not_asked_a_third_time(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...], ledger: Ledger
) -> None:
    bench = Bench(tools, ledger, tmp_path, [Say("Nothing to do.")] * 3)
    found = bench.synthesize(tiny.candidate(tmp_path, pins, **_STRANGE))
    assert _steps(found)[1:] == [("agent", "agent")] * 2
    assert found.attempts[-1]["cause"] == "Nothing to do."
    assert (found.row, found.unknown) == (None, None)


def test_what_it_says_of_its_work_is_not_believed(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...], ledger: Ledger
) -> None:
    forge = Shell("echo PASSED > verify; echo '{}' > TASK.md; echo 'exit 0' > scripts/profile.sh")
    cheat = Shell(f"echo 'exit 0' > {_SCRIPT}")
    bench = Bench(tools, ledger, tmp_path, [forge, cheat, Say("PASSED")] * 2)
    found = bench.synthesize(tiny.candidate(tmp_path, pins, **_STRANGE))
    assert found.row is None
    # An empty build ends well, and has nothing that could be imported.
    assert _steps(found)[1] == ("agent", "docker_build_run.sh")
    profiles = {
        s["content"] for a in found.attempts for s in a["scripts"] if s["name"] == "profile.sh"
    }
    assert len(profiles) == 1


def test_an_outage_after_its_session_is_no_answer_but_is_paid_for(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...], ledger: Ledger
) -> None:
    outage = "echo error: error sending request for url; exit 2"
    bench = Bench(tools, ledger, tmp_path, [Shell(f"echo '{outage}' > {_SCRIPT}"), Say("Done.")])
    found = bench.synthesize(tiny.candidate(tmp_path, pins, **_STRANGE))
    assert found.row is None
    assert found.unknown is not None
    assert "met an outage" in found.unknown
    assert found.attempts
    [bill] = ledger.bills()
    assert bill.usage.output_tokens == bench.model.told.given


def test_a_model_that_is_down_is_no_answer(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...], ledger: Ledger
) -> None:
    bench = Bench(tools, ledger, tmp_path, [Refused(529, "Overloaded")])
    found = bench.synthesize(tiny.candidate(tmp_path, pins, **_STRANGE))
    assert _steps(found)[1:] == [("agent", "agent")]
    assert found.unknown is not None
    assert found.unknown.startswith("claude does not reach its model")


def test_its_usage_limit_is_everybodys_and_no_answer(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...], ledger: Ledger
) -> None:
    candidate = tiny.candidate(tmp_path, pins, **_STRANGE)
    bench = Bench(tools, ledger, tmp_path, [Shell("true"), Refused(429, "you hit your limit")])
    found = bench.synthesize(candidate)
    assert _steps(found)[1:] == [("agent", "rate_limited")]
    assert found.row is None
    assert found.unknown is not None
    assert found.unknown.startswith("claude is at its limit until 20")
    assert found.answer().unknown == found.unknown
    [pause] = ledger.pauses().values()
    in_ten_minutes = datetime.datetime.now().timestamp() + 600
    assert in_ten_minutes - 120 < pause.until <= in_ten_minutes
    other = Bench(tools, ledger, tmp_path, [Say("here I am")])
    again = other.synthesize(candidate)
    assert other.model.asked == []
    assert again.unknown == found.unknown
    assert [*(tmp_path / "agents").iterdir()] == []


def test_a_short_limit_is_waited_for(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...], ledger: Ledger
) -> None:
    limit = Refused(429, "you hit your limit, retry after 2s.")
    steps = [limit, Shell(f"{_BREAK}; {_FIX}; ./verify"), Say("It passes.")]
    bench, deadline = Bench(tools, ledger, tmp_path, steps), time.monotonic() + 120

    def lift() -> None:
        while not ledger.pauses() and time.monotonic() < deadline:
            time.sleep(0.01)
        bench.model.relent()

    lifting = threading.Thread(target=lift)
    lifting.start()
    found = bench.synthesize(tiny.candidate(tmp_path, pins, **_STRANGE))
    lifting.join()
    assert _steps(found)[1:] == [("agent", "rate_limited"), ("agent", None)]
    assert found.row is not None


def test_a_limit_that_comes_back_is_not_waited_for_for_ever(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...], ledger: Ledger
) -> None:
    limit = Refused(429, "you hit your limit, retry after 0.5s.")
    bench = Bench(tools, ledger, tmp_path, [limit] * 99)
    found = bench.synthesize(tiny.candidate(tmp_path, pins, **_STRANGE))
    assert _steps(found)[1:] == [("agent", "rate_limited")] * 3
    assert found.until is not None
    assert found.answer().until == found.until


def test_a_refused_key_ends_the_asking(
    tmp_path: Path, tools: Tools, pins: tuple[str, ...], ledger: Ledger
) -> None:
    bench = Bench(tools, ledger, tmp_path, [Refused(401, "invalid x-api-key")])
    candidate = tiny.candidate(tmp_path, pins, **_STRANGE)
    with bench.model:
        first = bench.synthesizer.synthesize(candidate)
        asked = len(bench.model.asked)
        second = bench.synthesizer.synthesize(tiny.numbered(candidate, 2))
        assert len(bench.model.asked) == asked
    for found in (first, second):
        assert found.unknown is not None
        assert "ANTHROPIC_API_KEY is refused" in found.unknown
    assert ledger.pauses() == {}
    assert sessions.KEY not in str(first.attempts)
