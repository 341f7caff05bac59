"""Rows of pull requests from the sample's real repository, and when it cannot be asked."""

from pathlib import Path
from typing import Any

import pytest

from fc_assets import sample
from fc_assets.pull_requests.describe import describe, summary
from fc_resources.errors import PermanentError
from fc_resources.git import Mirrors
from tests import samples


@pytest.fixture(scope="module")
def mirrors(tmp_path_factory: pytest.TempPathFactory) -> Mirrors:
    folder = tmp_path_factory.mktemp("sample")
    return Mirrors(folder / "mirrors", local=sample.unpack(folder / "offline") / "git")


def _raw(number: int) -> dict[str, Any]:
    return next(row for row in sample.load("pull_requests") if row["pr_number"] == number)


def test_diff_files_and_counts_come_from_git(mirrors: Mirrors) -> None:
    for raw in sample.load("pull_requests"):
        [row] = describe(raw, mirrors).rows
        wanted = sorted(map(repr, summary(raw["file_change_summary"])))
        found = [
            f"FileChange({', '.join(f'{k}={v!r}' for k, v in f.items())})" for f in row["files"]
        ]
        assert sorted(found) == wanted
        assert row["diff_source"] == "git"
        assert row["additions"] == sum(f["additions"] for f in row["files"])
        assert row["patch"].count("diff --git") == len(row["files"])


@pytest.mark.parametrize("number", [36, 39])
def test_the_base_is_the_first_parent_not_what_the_source_says(
    mirrors: Mirrors, number: int
) -> None:
    raw = _raw(number)
    [row] = describe(raw, mirrors).rows
    mirror = mirrors.mirror(*sample.REPOSITORY, [raw["pr_merge_commit_sha"]])
    assert row["base_sha"] != raw["pr_base"]["sha"]
    assert row["base_sha"] == mirror.first_parent(raw["pr_merge_commit_sha"])


def test_a_commit_that_is_not_there_is_a_failure_not_a_row(mirrors: Mirrors) -> None:
    with pytest.raises(PermanentError, match="is not in formulacode/wordmill"):
        describe({**_raw(7), "pr_merge_commit_sha": "0" * 40}, mirrors)


def test_an_unreachable_repository_leaves_a_row_that_says_so_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "gitconfig"
    config.write_text('[url "file:///nonexistent/"]\n\tinsteadOf = https://github.com/\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    answer = describe(_raw(7), Mirrors(tmp_path / "mirrors"))
    [row] = answer.rows
    assert answer.unknown
    assert (row["diff_source"], row["patch"], row["base_sha"]) == ("unreachable", None, None)
    assert row["files"]


def test_a_patch_that_the_source_brings_is_taken_without_git(tmp_path: Path) -> None:
    answer = describe(samples.pull_request(), Mirrors(tmp_path / "never"))
    assert answer.unknown is None
    assert answer.rows[0]["diff_source"] == "source"
    assert not (tmp_path / "never").exists()


def test_text_of_others_cannot_break_a_row(tmp_path: Path) -> None:
    raw = samples.pull_request(pr_title=None, pr_body="a\0b", pr_labels=None, pr_base=None)
    [row] = describe(raw, Mirrors(tmp_path)).rows
    assert (row["title"], row["body"], row["labels"], row["base_sha"]) == ("", "a\ufffdb", [], None)
