"""Rows of pull requests from real repositories, and when git or GitHub cannot be asked."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from fc_assets import sample, work
from fc_assets.pull_requests import record
from fc_assets.pull_requests.describe import describe
from fc_resources import github_merged
from fc_resources.git import Mirrors
from fc_resources.github import GitHub
from fc_resources.ledger import Ledger
from tests import samples
from tests.fakes import github as fake_github

_NAME = "/".join(sample.REPOSITORY)
_GONE = "0" * 40


@pytest.fixture(scope="module")
def mirrors(tmp_path_factory: pytest.TempPathFactory) -> Mirrors:
    folder = tmp_path_factory.mktemp("sample")
    return Mirrors(folder / "mirrors", local=sample.unpack(folder / "offline") / "git")


@pytest.fixture
def nobody(tmp_path: Path) -> GitHub:
    """A client without a token."""
    return GitHub([], Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}"))


def _raw(number: int, **changes: Any) -> dict[str, Any]:
    found = next(row for row in sample.load("pull_requests") if row["pr_number"] == number)
    return {**found, **changes}


def _row(answer: work.Answer | Exception) -> dict[str, Any]:
    assert isinstance(answer, work.Answer)
    [row] = answer.rows
    return dict(row)


def _one(raw: dict[str, Any], mirrors: Mirrors, github: GitHub) -> work.Answer:
    [answer] = describe([record.of_offline(raw, raw["repo_name"])], mirrors, github)
    assert isinstance(answer, work.Answer)
    return answer


def test_diff_files_and_counts_come_from_git(mirrors: Mirrors, nobody: GitHub) -> None:
    raws = sample.load("pull_requests")
    answers = describe([record.of_offline(raw, _NAME) for raw in raws], mirrors, nobody)
    for raw, row in zip(raws, map(_row, answers), strict=True):
        wanted = [vars(change) for change in record.summary(raw["file_change_summary"])]
        assert sorted(row["files"], key=repr) == sorted(wanted, key=repr)
        assert row["diff_source"] == "git"
        assert row["additions"] == sum(f["additions"] for f in row["files"])
        assert row["patch"].count("diff --git") == len(row["files"])


@pytest.mark.parametrize("number", [36, 39])
def test_the_base_is_the_first_parent_not_what_the_source_says(
    mirrors: Mirrors, nobody: GitHub, number: int
) -> None:
    raw = _raw(number)
    row = _row(_one(raw, mirrors, nobody))
    mirror = mirrors.mirror(*sample.REPOSITORY, [raw["pr_merge_commit_sha"]])
    assert row["base_sha"] != raw["pr_base"]["sha"]
    assert row["base_sha"] == mirror.first_parent(raw["pr_merge_commit_sha"])


def test_a_commit_that_is_gone_is_a_row_that_says_so_among_the_others(
    mirrors: Mirrors, nobody: GitHub
) -> None:
    raws = [_raw(7), _raw(10, pr_merge_commit_sha=_GONE), _raw(36)]
    answers = describe([record.of_offline(raw, _NAME) for raw in raws], mirrors, nobody)
    rows = [_row(answer) for answer in answers]
    assert [row["diff_source"] for row in rows] == ["git", "gone", "git"]
    assert (rows[1]["patch"], rows[1]["passes_prefilter"]) == (None, False)
    assert rows[1]["prefilter_reason"] == "its merge commit is gone"


def test_an_unreachable_repository_leaves_a_row_that_says_so_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nobody: GitHub
) -> None:
    config = tmp_path / "gitconfig"
    config.write_text('[url "file:///nonexistent/"]\n\tinsteadOf = https://github.com/\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    answer = _one(_raw(7), Mirrors(tmp_path / "mirrors"), nobody)
    row = _row(answer)
    assert answer.unknown
    assert (row["diff_source"], row["patch"], row["base_sha"]) == ("unreachable", None, None)
    assert row["files"]


def test_a_patch_that_the_source_brings_is_taken_without_git(
    tmp_path: Path, nobody: GitHub
) -> None:
    answer = _one(samples.pull_request(), Mirrors(tmp_path / "never"), nobody)
    assert answer.unknown is None
    assert answer.rows[0]["diff_source"] == "source"
    assert not (tmp_path / "never").exists()


def test_a_pull_request_without_a_merge_commit_is_kept_and_not_judged(
    mirrors: Mirrors, nobody: GitHub
) -> None:
    row = _row(_one(_raw(7, pr_merge_commit_sha=None), mirrors, nobody))
    assert (row["merge_commit_sha"], row["diff_source"]) == (None, "gone")
    assert not row["passes_prefilter"]


@pytest.mark.github
class TestGitHubIsAskedForACommitThatGitDoesNotHave:
    @pytest.fixture
    def fake(self) -> Any:
        with fake_github.GitHub() as fake:
            fake.repository(_NAME)
            yield fake
            assert fake.invalid_queries == []

    def _describe(
        self, fake: Any, tmp_path: Path, mirrors: Mirrors, files: int = 1
    ) -> tuple[work.Answer, dict[str, Any]]:
        ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
        github = GitHub(["ghp_one"], ledger, url=fake.url, timeout_s=5)
        fake.pull_request(
            _NAME,
            50,
            title="perf: faster",
            mergedAt="2026-01-05T00:00:00Z",
            mergeCommit=_GONE,
            files=[{"path": f"w/{n}.py", "additions": 1, "deletions": 0} for n in range(files)],
        )
        start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        end = datetime.datetime(2026, 2, 1, tzinfo=datetime.UTC)
        [page] = github.stream(github_merged.merged(github, [_NAME], start, end))
        assert isinstance(page, github_merged.Page)
        pulls = [record.of_github(node, _NAME) for node in page.nodes]
        [answer] = describe(pulls, mirrors, github)
        assert isinstance(answer, work.Answer)
        return answer, _row(answer)

    def test_its_diff(self, fake: Any, tmp_path: Path, mirrors: Mirrors) -> None:
        fake.diffs[_GONE] = b"diff --git a/w/0.py b/w/0.py\n+\0fast = True of many words\n"
        answer, row = self._describe(fake, tmp_path, mirrors)
        assert (row["diff_source"], answer.unknown) == ("api", None)
        assert "\ufffdfast = True" in row["patch"]
        assert row["passes_prefilter"]

    def test_all_its_files(self, fake: Any, tmp_path: Path, mirrors: Mirrors) -> None:
        fake.diffs[_GONE] = b"diff\n" * 10
        _, row = self._describe(fake, tmp_path, mirrors, files=230)
        assert row["additions"] == len(row["files"]) == 230

    @pytest.mark.parametrize(
        ("status", "source", "reason"),
        [
            (406, "too_large", "its diff is too large to be stored and judged"),
            (404, "gone", "its merge commit is gone"),
        ],
    )
    def test_which_may_have_none(
        self,
        fake: Any,
        tmp_path: Path,
        mirrors: Mirrors,
        status: int,
        source: str,
        reason: str,
    ) -> None:
        fake.diffs[_GONE] = status
        answer, row = self._describe(fake, tmp_path, mirrors)
        assert (row["diff_source"], row["prefilter_reason"]) == (source, reason)
        assert answer.unknown is None

    def test_and_may_fail(
        self, fake: Any, tmp_path: Path, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
        fake.diffs[_GONE] = 502
        answer, row = self._describe(fake, tmp_path, mirrors)
        assert row["diff_source"] == "unreachable"
        assert answer.unknown
        assert "502" in answer.unknown
