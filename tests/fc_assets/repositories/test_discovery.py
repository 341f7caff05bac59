"""Which repositories a month has, who named them, and what a failure of GitHub leaves alone."""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fc_assets import work
from fc_assets.repositories import discovery
from fc_assets.repositories.describe import describe
from fc_assets.tables import REPOSITORIES
from fc_resources.errors import PermanentError, UnavailableError
from fc_resources.github import GitHub
from fc_resources.ledger import Ledger
from fc_resources.offline import OfflineSource
from fc_resources.warehouse import Rows, Warehouse
from tests import samples
from tests.fakes import github as fake_github
from tests.fakes import github_faults

pytestmark = pytest.mark.github
JANUARY, MARCH = datetime.date(2026, 1, 1), datetime.date(2026, 3, 1)
_NOTHING = discovery.Known({}, {}, {})


@pytest.fixture
def fake() -> Iterator[fake_github.GitHub]:
    with fake_github.GitHub() as fake:
        yield fake
        assert fake.invalid_queries == []


@pytest.fixture
def github(fake: fake_github.GitHub, tmp_path: Path) -> GitHub:
    return GitHub(["ghp_one"], Ledger(f"sqlite:///{tmp_path / 'l.sqlite'}"), url=fake.url)


def _add(fake: fake_github.GitHub, name: str, **fields: Any) -> None:
    """A repository with a configuration that code search finds."""
    path = "benchmarks/asv.conf.json"
    fake.repository(name, **{"stargazerCount": 900, "files": [path], **fields})
    fake.code.append({"repository": name, "path": path, "size": 700})


def _found(
    github: GitHub,
    *wanted: datetime.date,
    known: discovery.Known = _NOTHING,
    source: OfflineSource | None = None,
) -> list[discovery.Items]:
    return [i for _, i in discovery.items(source, github, known, wanted or (JANUARY,), 500)]


def _rows(items: discovery.Items) -> dict[str, dict[str, Any]]:
    answers = [describe(i.value, 500) for i in items if isinstance(i, work.Item)]
    return {work.key_of(row): dict(row) for answer in answers for row in answer.rows}


def _notes(items: discovery.Items) -> dict[str, str | None]:
    found = {i.key: describe(i.value, 500) for i in items if isinstance(i, work.Item)}
    return {key: answer.note for key, answer in found.items() if not answer.rows}


def _failures(items: discovery.Items) -> dict[str, Exception]:
    return {item.key: item.error for item in items if isinstance(item, work.Unlisted)}


def test_what_code_search_finds_comes_with_all_its_metadata(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    _add(
        fake,
        "o/found",
        description="Fast things.",
        createdAt="2020-02-03T04:05:06Z",
        repositoryTopics=["speed"],
        licenseInfo="BSD-3-Clause",
        defaultBranchRef="trunk",
        primaryLanguage="Cython",
    )
    fake.code.append({"repository": "o/found", "path": "perf/asv.pypy.json", "size": 70})
    [items] = _found(github)
    assert _rows(items) == {
        "o/found": {
            "owner": "o",
            "repo": "found",
            "origin": "search",
            "aliases": [],
            "description": "Fast things.",
            "primary_language": "Cython",
            "stars": 900,
            "topics": ["speed"],
            "license": "BSD-3-Clause",
            "default_branch": "trunk",
            "created_at": datetime.datetime(2020, 2, 3, 4, 5, 6, tzinfo=datetime.UTC),
            "archived": False,
            "asv_configs": ["benchmarks/asv.conf.json", "perf/asv.pypy.json"],
        }
    }


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"stargazerCount": 499}, "499 stars, fewer than 500"),
        ({"isFork": True}, "a fork"),
        ({"isDisabled": True}, "disabled"),
        ({"isPrivate": True}, "private"),
        ({"isArchived": True, "archivedAt": "2025-12-31T23:59:59Z"}, "archived on 2025-12-31"),
        ({"isArchived": True, "archivedAt": None}, "archived"),
        ({"createdAt": "2026-02-01T00:00:00Z"}, "created on 2026-02-01, after the month"),
        ({"primaryLanguage": "C++"}, "its primary language is C++"),
        ({"primaryLanguage": None}, "its primary language is not known"),
    ],
)
def test_a_repository_is_left_out_with_the_reason(
    fake: fake_github.GitHub, github: GitHub, fields: dict[str, Any], reason: str
) -> None:
    _add(fake, "o/found", **fields)
    # Known from before: code search itself leaves forks out.
    [items] = _found(github, known=discovery.Known({}, {"o/found": []}, {}))
    assert _notes(items) == {"o/found": reason}


def test_a_repository_archived_since_is_tracked_while_it_was_not(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    _add(fake, "o/old", isArchived=True, archivedAt="2026-02-10T00:00:00Z")
    january, march = _found(github, JANUARY, MARCH)
    assert list(_rows(january)) == ["o/old"]
    assert _notes(march) == {"o/old": "archived on 2026-02-10"}


def test_known_offline_and_found_ones_are_together_each_once(
    fake: fake_github.GitHub, github: GitHub, tmp_path: Path
) -> None:
    rows = [samples.pull_request(), samples.pull_request(2, repo_name="o/both")]
    source = OfflineSource(samples.write(tmp_path / "prs.parquet", rows))
    for name in ("o/r", "o/known"):
        fake.repository(name, stargazerCount=900)
    _add(fake, "o/both")
    known = discovery.Known(
        {}, {"o/known": ["ci/asv.conf.json"], "o/both": []}, {"o/known": ["o/was"]}
    )
    [items] = _found(github, known=known, source=source)
    found = _rows(items)
    assert {name: row["origin"] for name, row in found.items()} == {
        "o/r": "offline",
        "o/both": "offline",
        "o/known": "known",
    }
    assert found["o/known"]["asv_configs"] == ["ci/asv.conf.json"]
    assert found["o/known"]["aliases"] == ["o/was"]


def test_a_renamed_repository_has_its_new_name_and_keeps_the_old_as_alias(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    _add(fake, "o/old")
    fake.rename("o/old", "n/new")
    fake.code[:] = [{"repository": "n/new", "path": "asv.conf.json", "size": 9}]
    known = discovery.Known({}, {"o/old": ["benchmarks/asv.conf.json"]}, {})
    [items] = _found(github, known=known)
    assert [item.key for item in items] == ["n/new"]
    row = _rows(items)["n/new"]
    assert row["aliases"] == ["o/old"]
    assert row["asv_configs"] == ["asv.conf.json", "benchmarks/asv.conf.json"]


def test_a_vanished_repository_is_shown_as_gone_and_keeps_what_there_is(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    _add(fake, "o/here")
    known = discovery.Known({JANUARY: {"o/gone"}}, {"o/gone": []}, {})
    [items] = _found(github, known=known)
    assert {i.key: i.gone for i in items if isinstance(i, work.Unlisted)} == {"o/gone": True}


def test_a_repository_that_is_not_visible_is_asked_for_again(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    """It may be private for a day, or the token without rights: that is no answer to keep."""
    _add(fake, "o/here")
    known = discovery.Known({}, {"o/gone": []}, {})
    runs = [_found(github, known=known)[0] for _ in range(2)]
    before, after = (item for items in runs for item in items if item.key == "o/gone")
    assert isinstance(before, work.Item)
    assert isinstance(after, work.Item)
    assert describe(before.value, 500).note == "gone from GitHub, or private"
    assert before.digest != after.digest


def test_when_nothing_is_visible_the_tokens_are_to_blame(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    known = discovery.Known({}, {"o/a": [], "o/b": []}, {})
    with pytest.raises(PermanentError, match="shows none of 2 repositories; do the GH_TOKENS"):
        _found(github, known=known)


def test_a_vanished_repository_has_the_row_of_an_offline_source_unless_github_told(
    fake: fake_github.GitHub, github: GitHub, tmp_path: Path
) -> None:
    source = OfflineSource(samples.write(tmp_path / "prs.parquet", [samples.pull_request()]))
    [items] = _found(github, source=source)
    assert _rows(items)["o/r"]["origin"] == "offline"
    assert _rows(items)["o/r"].get("asv_configs") is None
    known = discovery.Known({JANUARY: {"o/r"}}, {"o/r": []}, {})
    [[item]] = _found(github, source=source, known=known)
    assert isinstance(item, work.Unlisted)
    assert item.gone


def test_a_former_name_that_leads_nowhere_any_more_doubles_nothing(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    _add(fake, "o/new")
    known = discovery.Known({JANUARY: {"o/old"}}, {"o/old": []}, {"o/old": ["o/new"]})
    january, march = _found(github, JANUARY, MARCH, known=known)
    assert [item.key for item in january] == ["o/old"]
    assert list(_rows(january)) == ["o/old"]
    assert [item.key for item in march] == ["o/new"]


def test_a_failed_look_up_of_a_former_name_changes_no_name(
    fake: fake_github.GitHub, github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    _add(fake, "o/new")
    broken = lambda request: "old" in request.variables.values()  # noqa: E731
    for alias in ("r0", "r1"):
        fake.fault(github_faults.partial((alias,)), times=99, when=broken)
    known = discovery.Known({JANUARY: {"o/old"}}, {"o/old": []}, {"o/old": ["o/new"]})
    [items] = _found(github, known=known)
    assert list(_rows(items)) == ["o/old"]


def test_what_a_month_tracks_stays_tracked(fake: fake_github.GitHub, github: GitHub) -> None:
    _add(fake, "o/found", stargazerCount=499)
    known = discovery.Known({JANUARY: {"o/found"}}, {"o/found": []}, {})
    january, march = _found(github, JANUARY, MARCH, known=known)
    assert list(_rows(january)) == ["o/found"]
    assert _notes(march) == {"o/found": "499 stars, fewer than 500"}
    [item] = january
    assert isinstance(item, work.Item)
    assert describe(item.value, 500, decide_anew=True).note == "499 stars, fewer than 500"


def test_when_code_search_fails_that_is_a_failure_and_the_known_ones_go_on(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    _add(fake, "o/known")
    is_search = lambda request: request.path == "/search/code"  # noqa: E731
    fake.fault(github_faults.status(403), times=99, when=is_search)
    [items] = _found(github, known=discovery.Known({}, {"o/known": []}, {}))
    assert list(_rows(items)) == ["o/known"]
    assert "403" in str(_failures(items)[discovery.SEARCH])


def test_metadata_that_did_not_come_is_a_failure_of_that_repository(
    fake: fake_github.GitHub, github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    for name in ("o/a", "o/b"):
        _add(fake, name)
    fake.fault(github_faults.partial(("r0",)), times=99, when=lambda r: "a" in r.variables.values())
    [items] = _found(github)
    assert list(_failures(items)) == ["o/a"]
    assert list(_rows(items)) == ["o/b"]


def test_a_month_keeps_what_was_first_seen_of_a_repository(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    """Whoever names it this time: code search forgets, and finds again."""
    _add(fake, "o/found")
    [[before]] = _found(github)
    fake.repositories["o/found"]["stargazerCount"] = 5000
    fake.code.clear()
    [[after]] = _found(github, known=discovery.Known({}, {"o/found": []}, {}))
    assert isinstance(before, work.Item)
    assert isinstance(after, work.Item)
    assert (before.value.origin, after.value.origin) == ("search", "known")
    assert after.digest == before.digest


def test_a_month_keeps_the_name_it_has_of_a_renamed_repository(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    """Its pull requests are stored under that name; later months take the new one."""
    _add(fake, "o/old")
    fake.rename("o/old", "n/new")
    known = discovery.Known({JANUARY: {"o/old"}}, {"o/old": []}, {})
    january, march = _found(github, JANUARY, MARCH, known=known)
    assert {name: row["aliases"] for name, row in _rows(january).items()} == {"o/old": ["n/new"]}
    assert {name: row["aliases"] for name, row in _rows(march).items()} == {"n/new": ["o/old"]}


def test_a_repository_of_one_month_is_asked_for_in_all_months_of_the_run(
    fake: fake_github.GitHub, github: GitHub, tmp_path: Path
) -> None:
    source = OfflineSource(samples.write(tmp_path / "prs.parquet", [samples.pull_request()]))
    fake.repository("o/r", stargazerCount=900)
    january, march = _found(github, JANUARY, MARCH, source=source)
    assert _rows(january)["o/r"]["origin"] == "offline"
    assert _rows(march)["o/r"]["origin"] == "known"


def test_many_months_ask_github_once(fake: fake_github.GitHub, github: GitHub) -> None:
    for number in range(120):
        _add(fake, f"o/r{number}")
    year = [datetime.date(2025, month, 1) for month in range(1, 13)]
    assert {len(items) for items in _found(github, *year)} == {120}
    # Two searches of two pages at most, and 120 repositories in batches.
    assert len(fake.requests) <= 7


def test_without_a_token_only_the_offline_source_counts(tmp_path: Path) -> None:
    source = OfflineSource(samples.write(tmp_path / "prs.parquet", [samples.pull_request()]))
    nobody = GitHub([], Ledger(f"sqlite:///{tmp_path / 'l.sqlite'}"))
    known = discovery.Known({}, {"o/known": []}, {})
    [items] = _found(nobody, known=known, source=source)
    assert list(_rows(items)) == ["o/r"]


def test_every_token_refused_is_said_once_not_per_repository(
    fake: fake_github.GitHub, github: GitHub
) -> None:
    fake.revoke("ghp_one")
    with pytest.raises(UnavailableError, match="GH_TOKENS"):
        _found(github, known=discovery.Known({}, {"o/known": []}, {}))


def test_the_warehouse_knows_every_repository_of_any_month(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    assert discovery.known(warehouse) == _NOTHING
    row = {"owner": "o", "repo": "r", "origin": "search", "aliases": ["o/was"]}
    rows = [
        {**row, "partition_month": JANUARY, "asv_configs": ["asv.conf.json"]},
        {**row, "partition_month": MARCH, "repo": "s", "aliases": []},
    ]
    batch = REPOSITORIES.batch(rows)
    months = [JANUARY, MARCH]
    warehouse.replace("repositories", Rows(batch.schema, months, lambda: iter([batch])))
    assert discovery.known(warehouse) == discovery.Known(
        {JANUARY: {"o/r"}},
        {"o/r": ["asv.conf.json"], "o/s": ()},
        {"o/r": ["o/was"], "o/s": ()},
    )


def test_a_warehouse_from_before_a_column_was_declared_is_read(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    old = pa.RecordBatch.from_pylist([{"partition_month": JANUARY, "owner": "o", "repo": "r"}])
    warehouse.replace("repositories", Rows(old.schema, [JANUARY], lambda: iter([old])))
    assert discovery.known(warehouse) == discovery.Known({}, {"o/r": ()}, {"o/r": ()})
