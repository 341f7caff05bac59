"""Stages 1 and 2 from a loopback GitHub and real git, with `fc-data` as users run it.

What each request means is tested with `fc_resources`; here: nothing is lost, doubled or wrong.
"""

import datetime
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fc_assets import months, sample
from fc_resources.ledger import Ledger
from tests import samples
from tests.fakes import github as fake_github
from tests.fakes import github_faults

pytestmark = pytest.mark.github
_NAME = "/".join(sample.REPOSITORY)
_JANUARY = ("--start-date", "2026-01-01", "--end-date", "2026-02-01", "--stage", 1, "--stage", 2)
_BOTH = ("--start-date", "2026-01-01", "--end-date", "2026-03-01", "--stage", 1, "--stage", 2)
_TOKEN = "ghp_averysecrettoken"
#: What only one of the two sources can tell.
_ONE_SOURCE = ("origin", "author", "events", "event_count")


@pytest.fixture
def fake() -> Iterator[fake_github.GitHub]:
    """GitHub with the sample's repository, which code search finds."""
    with fake_github.GitHub((_TOKEN,)) as fake:
        fake.fill(sample.load("pull_requests"))
        fake.repositories[_NAME]["stargazerCount"] = 900
        fake.code.append({"repository": _NAME, "path": "benchmarks/asv.conf.json", "size": 700})
        yield fake
        assert fake.invalid_queries == []


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home without an offline source; git finds the sample's repository where GitHub's is."""
    sample.unpack(tmp_path / "sample")
    config = tmp_path / "gitconfig"
    config.write_text(
        f'[url "file://{tmp_path}/sample/git/"]\n\tinsteadOf = https://github.com/\n'
        "[uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n"
        "[protocol]\n\tfile = allow\n"
    )
    return tmp_path / "home"


def _environment(fake: fake_github.GitHub, home: Path, **extra: str) -> dict[str, str]:
    return {
        "GH_TOKENS": _TOKEN,
        "FC_GITHUB_URL": fake.url,
        "FC_GITHUB_TIMEOUT_S": "2",
        "GIT_CONFIG_GLOBAL": str(home.parent / "gitconfig"),
        **extra,
    }


def _run(
    fake: fake_github.GitHub, home: Path, *arguments: object, **extra: str
) -> "subprocess.CompletedProcess[str]":
    return samples.fc_data(home, *arguments, **_environment(fake, home, **extra))


def _numbers(home: Path) -> list[int]:
    rows = samples.tables(home).get("pull_requests", [])
    return sorted(row["issue_number"] for row in rows)


def _wanted(*wanted: str) -> list[int]:
    """Numbers of the sample's pull requests that were merged in these months, by UTC."""
    merged = {
        raw["pr_number"]: datetime.datetime.fromisoformat(raw["pr_merged_at"])
        for raw in sample.load("pull_requests")
    }
    return sorted(n for n, at in merged.items() if months.label(months.month_of(at)) in wanted)


def test_github_and_the_offline_import_of_the_same_months_give_the_same_rows(
    fake: fake_github.GitHub, home: Path, tmp_path: Path
) -> None:
    done = _run(fake, home, *_BOTH)
    assert done.returncode == 0, done.stderr
    offline = tmp_path / "offline-home"
    source = ("--offline-source", tmp_path / "sample")
    assert samples.fc_data(offline, *_BOTH, *source).returncode == 0
    found, wanted = (samples.tables(place, _ONE_SOURCE) for place in (home, offline))
    assert found["pull_requests"] == wanted["pull_requests"]
    assert _numbers(home) == _wanted("2026-01", "2026-02")
    assert {row["diff_source"] for row in found["pull_requests"]} == {"git"}


def test_a_month_costs_few_requests_and_one_that_is_done_none(
    fake: fake_github.GitHub, home: Path
) -> None:
    assert _run(fake, home, *_JANUARY).returncode == 0
    # Two code searches, metadata, counts, a page.
    assert len(fake.requests) == 5
    assert _run(fake, home, *_JANUARY, "--resume").returncode == 0
    assert len(fake.requests) == 5


@pytest.mark.parametrize(
    "fault",
    [
        github_faults.status(502),
        github_faults.timed_out(),
        github_faults.truncated(),
        github_faults.truncated(drop=True),
        github_faults.garbage(),
        github_faults.stall(3),
        github_faults.primary_graphql(1),
        github_faults.secondary(1, code=200),
        github_faults.secondary(1, code=403),
        github_faults.partial(("s0", "nodes", 3)),
    ],
    ids=lambda fault: getattr(fault, "__name__", "fault"),
)
def test_a_fault_that_passes_leaves_no_trace(
    fake: fake_github.GitHub, home: Path, fault: Any
) -> None:
    fake.fault(fault, times=2, when=lambda request: request.operation == "PullRequests")
    done = _run(fake, home, *_JANUARY)
    assert done.returncode == 0, done.stderr
    assert _numbers(home) == _wanted("2026-01")
    assert _run(fake, home, "failures", "--all", "--table").stdout == ""


def test_a_repository_that_cannot_be_listed_fails_visibly_and_the_other_is_stored(
    fake: fake_github.GitHub, home: Path
) -> None:
    fake.repository("o/broken", stargazerCount=900)
    fake.pull_request("o/broken", 1, mergedAt="2026-01-05T00:00:00Z", mergeCommit=None)
    fake.code.append({"repository": "o/broken", "path": "asv.conf.json", "size": 7})
    broken: set[str] = {"repo:o/broken"}
    fake.fault(
        github_faults.partial(("s0",)),
        times=99,
        when=lambda request: (
            request.operation == "PullRequests"
            and any(name in str(request.variables) for name in broken)
        ),
    )
    done = _run(fake, home, *_JANUARY)
    assert done.returncode == 0, done.stderr
    assert _numbers(home) == _wanted("2026-01")
    assert (
        "pull_requests 2026-01 o/broken: "
        in _run(fake, home, "failures", "--all", "--table").stdout
    )
    # Another outage, of the other repository now: what is stored of it stays.
    broken.clear()
    broken.add(f"repo:{_NAME}")
    done = _run(fake, home, *_JANUARY, "--resume")
    assert done.returncode == 0, done.stderr
    assert _numbers(home) == sorted([1, *_wanted("2026-01")])
    assert (
        f"pull_requests 2026-01 {_NAME}: "
        in _run(fake, home, "failures", "--all", "--table").stdout
    )
    broken.clear()
    assert _run(fake, home, *_JANUARY, "--resume").returncode == 0
    assert _numbers(home) == sorted([1, *_wanted("2026-01")])
    assert _run(fake, home, "failures", "--all", "--table").stdout == ""


def test_odd_pull_requests_are_all_stored_each_once(fake: fake_github.GitHub, home: Path) -> None:
    """All at once: renamed, no author, no merge commit, forced away, huge, hostile text."""
    odd, forced = "o/odd", "f" * 40
    fake.repository(odd, stargazerCount=900)
    fake.code.append({"repository": odd, "path": "asv.conf.json", "size": 7})
    assert _run(fake, home, *_JANUARY[:-2]).returncode == 0
    at = {"mergedAt": "2026-01-05T00:00:00Z", "createdAt": "2024-02-03T00:00:00Z"}
    file = {"path": "src/a.py", "additions": 1, "deletions": 1}
    fake.pull_request(_NAME, 1001, author=None, mergeCommit=None, **at)
    fake.pull_request(_NAME, 1002, mergeCommit=forced, title="perf", files=[file], **at)
    fake.diffs[forced] = b"diff --git a/src/a.py b/src/a.py\n-slow = 1\n+fast = 1\n"
    many = [{**file, "path": f"src/{n}.py"} for n in range(3000)]
    fake.pull_request(_NAME, 1003, mergeCommit="e" * 40, files=many, **at)
    fake.diffs["e" * 40] = 406
    body = "a\0b\ud800" + "x" * 1_000_000
    fake.pull_request(_NAME, 1004, mergeCommit=None, body=body, **at)
    fake.pull_request(odd, 1, mergeCommit=None, **at)
    fake.rename(odd, "o/renamed")
    done = _run(fake, home, *_JANUARY)
    assert done.returncode == 0, done.stderr
    assert _run(fake, home, "failures", "--all", "--table").stdout == ""
    rows = {
        (row["repo"], row["issue_number"]): row for row in samples.tables(home)["pull_requests"]
    }
    assert _numbers(home) == sorted([*_wanted("2026-01"), 1, 1001, 1002, 1003, 1004])
    own = [rows[sample.REPOSITORY[1], number] for number in (1001, 1002, 1003, 1004)]
    assert [row["diff_source"] for row in own] == ["gone", "api", "too_large", "gone"]
    assert [row["passes_prefilter"] for row in own] == [False, True, False, False]
    assert own[0]["author"] is None
    assert own[1]["patch"].endswith("+fast = 1\n")
    assert len(own[2]["files"]) == 3000
    assert own[3]["body"] == "a\ufffdb\ufffd" + "x" * 1_000_000
    # Its name when the month was first made.
    assert {repo for repo, _ in rows} == {sample.REPOSITORY[1], "odd"}


def test_an_outage_from_the_start_fails_the_run_and_stores_nothing(
    fake: fake_github.GitHub, home: Path
) -> None:
    fake.fault(github_faults.status(502), times=999)
    done = _run(fake, home, *_JANUARY)
    assert done.returncode == 1
    assert "502" in done.stderr
    assert samples.tables(home) == {}
    assert done.stderr.count("Traceback") == 0


def test_a_vanished_repository_is_shown_and_keeps_what_there_was(
    fake: fake_github.GitHub, home: Path
) -> None:
    assert _run(fake, home, *_JANUARY).returncode == 0
    fake.vanish(_NAME)
    fake.code.clear()
    for _ in range(2):
        done = _run(fake, home, *_JANUARY)
        assert done.returncode == 0, done.stderr
        assert _numbers(home) == _wanted("2026-01")
        failures = _run(fake, home, "failures", "--all", "--table").stdout
        for table in ("repositories", "pull_requests"):
            assert f"{table} 2026-01 {_NAME}: {_NAME} is not on GitHub" in failures
        assert "(gone, attempt" in failures
    asked = len(fake.requests)
    assert _run(fake, home, *_JANUARY, "--resume").returncode == 0
    assert len(fake.requests) == asked


def test_a_month_made_with_github_is_not_made_again_without_a_token(
    fake: fake_github.GitHub, home: Path, tmp_path: Path
) -> None:
    assert _run(fake, home, *_JANUARY).returncode == 0
    source = ("--offline-source", tmp_path / "sample")
    done = _run(fake, home, *_JANUARY, *source, GH_TOKENS="")
    assert done.returncode == 1
    assert "set GH_TOKENS" in done.stderr
    assert _numbers(home) == _wanted("2026-01")


def test_an_outage_of_code_search_leaves_a_finished_month_alone(
    fake: fake_github.GitHub, home: Path
) -> None:
    assert _run(fake, home, *_JANUARY).returncode == 0
    fake.repositories[_NAME]["stargazerCount"] = 499
    fake.fault(github_faults.status(403), times=99, when=lambda r: r.path == "/search/code")
    done = _run(fake, home, *_JANUARY)
    assert done.returncode == 0, done.stderr
    assert _numbers(home) == _wanted("2026-01")
    assert (
        "repositories 2026-01 code search: "
        in _run(fake, home, "failures", "--all", "--table").stdout
    )


def test_a_revoked_token_is_one_line_that_says_what_to_do(
    fake: fake_github.GitHub, home: Path
) -> None:
    fake.revoke(_TOKEN)
    done = _run(fake, home, *_JANUARY)
    assert done.returncode == 1
    assert "put a valid one into GH_TOKENS" in done.stderr


def test_a_killed_run_goes_on_where_it_was(fake: fake_github.GitHub, home: Path) -> None:
    fake.repository("o/many", stargazerCount=900)
    fake.code.append({"repository": "o/many", "path": "asv.conf.json", "size": 7})
    for number in range(1, 401):
        fake.pull_request("o/many", number, mergedAt="2026-01-05T00:00:00Z", mergeCommit=None)
    after = "OTk5"
    fake.fault(
        github_faults.stall(60),
        when=lambda r: r.operation == "PullRequests" and r.variables.get("a0") not in (None, after),
    )
    command = samples.command(*_JANUARY)
    environment = samples.environment(home, **_environment(fake, home, FC_GITHUB_TIMEOUT_S="90"))
    with subprocess.Popen(
        command,
        env=environment,
        cwd=home.parent,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as run:
        _until(lambda: _recorded(home) >= 100)
        run.send_signal(signal.SIGKILL)
    known = _recorded(home)
    done = _run(fake, home, *_JANUARY, "--resume")
    assert done.returncode == 0, done.stderr
    assert _numbers(home) == sorted([*range(1, 401), *_wanted("2026-01")])
    stage = next(line for line in done.stdout.splitlines() if "2 pull_requests" in line)
    assert int(stage.split()[4]) == known


def test_a_stage_that_fails_does_not_repeat_those_before_it(
    fake: fake_github.GitHub, home: Path
) -> None:
    fake.fault(github_faults.status(502), times=999, when=lambda r: r.operation == "Count")
    assert _run(fake, home, *_JANUARY).returncode == 1
    searches = [request for request in fake.requests if request.path == "/search/code"]
    assert len(searches) == 2


def test_ctrl_c_ends_a_wait_for_a_limit_at_once(fake: fake_github.GitHub, home: Path) -> None:
    fake.budget(_TOKEN, "graphql", 0, 3000)
    environment = samples.environment(home, **_environment(fake, home))
    with subprocess.Popen(
        samples.command(*_JANUARY),
        env=environment,
        cwd=home.parent,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as run:
        assert run.stderr
        for line in run.stderr:
            if "waiting" in line:
                break
        started = time.monotonic()
        run.send_signal(signal.SIGINT)
        said = run.stderr.read()
        assert run.wait() == 130
    assert time.monotonic() - started < 20
    assert "--resume" in said


def test_the_token_is_nowhere(fake: fake_github.GitHub, home: Path) -> None:
    fake.fault(github_faults.status(502), times=999, when=lambda r: r.operation == "Count")
    done = _run(fake, home, *_JANUARY)
    failures = _run(fake, home, "failures", "--all", "--table", "--traceback")
    said = done.stdout + done.stderr + failures.stdout
    assert "502" in said
    assert _TOKEN not in said
    assert str(home / "ledger.sqlite") in samples.files_with("502", home)
    assert samples.files_with(_TOKEN, home) == []


def _recorded(home: Path) -> int:
    if not (home / "ledger.sqlite").exists():
        return 0
    states = Ledger(f"sqlite:///{home / 'ledger.sqlite'}").progress()
    return sum(state.done for (table, _), state in states.items() if table == "pull_requests")


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
