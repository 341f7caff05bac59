"""One form for pull requests, whoever tells of them; text of others that no store would keep."""

import datetime
from typing import Any

from fc_assets.pull_requests import record
from fc_resources.git_diffs import FileChange
from tests import samples


def _node(**changes: Any) -> dict[str, Any]:
    return {
        "id": "PR_1",
        "number": 1,
        "title": "perf: make step 1 faster",
        "body": "",
        "author": {"login": "someone"},
        "createdAt": "2025-12-30T12:00:00Z",
        "mergedAt": "2026-01-15T12:00:00Z",
        "closedAt": "2026-01-15T12:00:00Z",
        "headRefOid": "c" * 40,
        "mergeCommit": {"oid": f"{1:040x}", "parents": {"nodes": [{"oid": "b" * 40}]}},
        "labels": {"nodes": [{"name": "perf"}]},
        "files": {
            "pageInfo": {"hasNextPage": False},
            "nodes": [{"path": "r/core.py", "additions": 1, "deletions": 1}],
        },
        "timelineItems": {"totalCount": 0},
        "events": [],
        **changes,
    }


def test_both_sources_tell_the_same() -> None:
    offline = vars(record.of_offline(samples.pull_request(), "o/r"))
    github = vars(record.of_github(_node(), "o/r"))
    only_one_has = ("origin", "author", "events", "event_count", "node", "patch")
    for name in offline.keys() - set(only_one_has):
        assert offline[name] == github[name], name


def test_it_belongs_to_the_repository_that_is_tracked() -> None:
    assert record.of_offline(samples.pull_request(), "new/name").key == "new/name#1"
    assert record.of_github(_node(), "new/name").key == "new/name#1"


def test_what_github_does_not_know_is_null() -> None:
    empty = {"author": None, "mergeCommit": None, "labels": None, "files": None}
    found = record.of_github(_node(**empty), "o/r")
    assert (found.author, found.merge_commit_sha, found.base_sha) == (None, None, None)
    assert (found.labels, found.files, found.all_files) == ([], [], True)


def test_text_of_others_has_nothing_that_cannot_be_stored() -> None:
    dirty = "a\0b\ud800c"
    found = record.of_github(
        _node(title=dirty, body=dirty, labels={"nodes": [{"name": dirty}]}), "o/r"
    )
    assert {found.title, found.body, *found.labels} == {"a\ufffdb\ufffdc"}
    raw = samples.pull_request(pr_title=None, pr_body="a\0b", pr_labels=None, pr_base=None)
    found = record.of_offline(raw, "o/r")
    assert (found.title, found.body, found.labels, found.base_sha) == ("", "a\ufffdb", [], None)


def test_events_keep_who_wrote_what_and_what_refers_to_it() -> None:
    at = {"createdAt": "2026-01-02T00:00:00Z"}
    source = {"number": 7, "repository": {"nameWithOwner": "x/y"}, "__typename": "Issue"}
    reference = {"__typename": "CrossReferencedEvent", "actor": None, "source": source, **at}
    comment = {"__typename": "IssueComment", "author": {"login": "a"}, "body": "b\0", **at}
    found = [record.event(node) for node in (reference, comment)]
    moment = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    assert found == [
        {
            "kind": "reference",
            "author": None,
            "created_at": moment,
            "body": None,
            "reference": "x/y#7",
            "is_pull_request": False,
        },
        {
            "kind": "comment",
            "author": "a",
            "created_at": moment,
            "body": "b\ufffd",
            "reference": None,
            "is_pull_request": None,
        },
    ]


def test_the_summary_of_an_offline_source_is_read_line_by_line() -> None:
    text = "| File | Lines Added | Lines Removed | Total Changes |\n|---|---|---|---|\n"
    assert record.summary(text + "| a/b.py | 1 | 22 | 23 |\nnoise | 1 |") == [
        FileChange("a/b.py", 1, 22)
    ]
