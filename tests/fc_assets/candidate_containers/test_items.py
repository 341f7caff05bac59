"""Which candidates of a month get a container: at most so many per repository, always the same."""

import datetime
from typing import Any

from fc_assets.candidate_containers import items
from fc_resources import settings

_MONTH = datetime.date(2026, 1, 1)


def _candidate(number: int, day: int, repo: str = "r") -> dict[str, Any]:
    return {
        "owner": "o",
        "repo": repo,
        "issue_number": number,
        "merged_at": datetime.datetime(2026, 1, day, tzinfo=datetime.UTC),
        "merge_commit_sha": f"{number:040x}",
    }


def _environment(candidate: dict[str, Any]) -> dict[str, Any]:
    nothing = ("project_name", "project_root", "asv_config", "python_version", "pins", "reason")
    return {
        **dict.fromkeys(nothing),
        "owner": "o",
        "repo": candidate["repo"],
        "sha": candidate["merge_commit_sha"],
        "base_sha": "b" * 40,
        "system_packages": [],
    }


def test_a_cap_takes_the_oldest_merges_of_each_repository_in_whatever_order_they_come() -> None:
    rows = [_candidate(5, 2), _candidate(4, 2), _candidate(9, 1), _candidate(1, 8, "s")]
    environments, now = [_environment(row) for row in rows], settings.current()
    for order in (rows, rows[::-1], sorted(rows, key=lambda row: row["issue_number"])):
        [(_, found)] = items.items([(_MONTH, order)], [(_MONTH, environments)], now)
        assert items.seeds(found, 2) == ["o/r#9", "o/r#4", "o/s#1"]
        assert len(items.seeds(found, None)) == len(found) == 4
        assert items.seeds(found, 0) == []
