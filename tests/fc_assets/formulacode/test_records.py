"""Which tasks become records, why the others do not, and what a record says."""

import datetime
import itertools
import re
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from fc_assets.formulacode import records
from fc_assets.tables import FORMULACODE
from fc_resources import settings
from tests.fc_assets.formulacode import material

_PROCESS = {
    "sandbox": "process",
    "image": None,
    "checks": [
        {"check": name, "outcome": "not_run" if name == "hygiene" else "passed", "evidence": ""}
        for name in material.CHECKS
    ],
}
_REGISTRY = "registry.example.org/fc"
#: distribution/reference, path-component; length of a whole name with domain.
_COMPONENT = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
_LONGEST = 255


def test_a_record_fits_its_table_and_tells_where_it_was_verified() -> None:
    row = {
        "partition_month": material.JANUARY,
        **records.record(material.task(), material.rules(), None),
    }
    [row] = FORMULACODE.batch([row]).to_pylist()
    assert row["task_id"] == "O-x__r-3"
    assert (row["gt_hash"], row["base_commit"]) == ("a" * 40, "b" * 40)
    assert row["sandbox"] == "docker"
    assert (row["image_name"], row["image_digest"]) == ("formulacode/o-x-r:pr-000000000003", None)
    assert {name: row[name] for name in material.MEASURED} == material.MEASURED
    lacking = [name for name, value in row.items() if value is None]
    assert lacking == ["image_digest", "published_at"]


def test_a_pushed_image_is_named_by_number_and_digest() -> None:
    row = records.record(material.task(), material.rules(registry=_REGISTRY), "sha256:1")
    assert row["image_name"] == f"{_REGISTRY}/o--x-r:3"
    assert row["image_digest"] == "sha256:1"
    assert row["container_name"] == "o--x-r-3"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"container": None}, "no verified container"),
        ({"environment": None}, "no verified container"),
        ({"pull_request": {"patch": None, "diff_source": "unreachable"}}, "no patch (unreachable)"),
        ({"pull_request": {"patch": " \n"}}, "its patch is empty"),
        ({"classification": {"is_performance": False}}, "not a performance pull request"),
        ({"classification": {"is_performance": None}}, "not a performance pull request"),
        (
            {"candidate": {"statement": None, "reason": "no linked issue"}},
            "no problem statement: no linked issue",
        ),
        ({"candidate": {"leak_suspected": True, "reason": "names x"}}, "leak suspected: names x"),
        ({"container": _PROCESS}, None),
        (
            {"container": {**_PROCESS, "checks": []}},
            "build has not passed; run stage 6 with --force",
        ),
        (
            {"repository": {"license": None}},
            "licence not known; tell it with FC_LICENSES=O-x/r=SPDX-identifier",
        ),
        (
            {"repository": {"license": "NOASSERTION"}},
            "licence not known; tell it with FC_LICENSES=O-x/r=SPDX-identifier",
        ),
        ({"repository": {"license": "SSPL-1.0"}}, "licence SSPL-1.0 is not in FC_LICENSES"),
    ],
)
def test_what_stands_against_a_record_keeps_it_out_with_the_reason(
    changes: dict[str, Any], reason: str | None
) -> None:
    assert records.obstacle(material.task(**changes), material.rules()) == reason


@pytest.mark.parametrize("check", ["build", "smoke", "profile", "hygiene"])
@pytest.mark.parametrize("outcome", ["failed", "not_run", None])
def test_every_check_but_measuring_has_to_have_passed(check: str, outcome: str | None) -> None:
    checks = [
        {"check": name, "outcome": outcome if name == check else "passed", "evidence": ""}
        for name in material.CHECKS
        if name != check or outcome
    ]
    task = material.task(container={"checks": checks})
    reason = records.obstacle(task, material.rules())
    told = "failed: " if outcome == "failed" else "has not passed; run stage 6 with --force"
    assert reason == f"{check} {told}"


def test_measuring_may_fail() -> None:
    checks = [{"check": c, "outcome": "passed", "evidence": ""} for c in material.CHECKS[:-1]]
    assert records.obstacle(material.task(container={"checks": checks}), material.rules()) is None


def test_with_a_registry_only_images_are_published() -> None:
    rules = material.rules(registry=_REGISTRY)
    assert records.obstacle(material.task(), rules) is None
    reason = records.obstacle(material.task(container=_PROCESS), rules)
    assert reason == "verified without a container: there is no image to push"


def test_a_licence_that_the_user_tells_wins() -> None:
    task = material.task(repository={"license": None})
    rules = material.rules(told={"o-x/r": "BSD-3-Clause"})
    assert records.obstacle(task, rules) is None
    assert records.record(task, rules, None)["license"] == "BSD-3-Clause"


@pytest.mark.parametrize(
    ("text", "allowed", "told"),
    [
        ("", True, {}),
        ("MIT, ISC", True, {}),
        ("ISC", False, {}),
        ("A/b=MIT", True, {"a/b": "MIT"}),
        ("ISC A/b=MIT", False, {"a/b": "MIT"}),
    ],
)
def test_licences_are_a_list_and_what_single_repositories_have(
    text: str, allowed: bool, told: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FC_LICENSES", text)
    loaded = settings.load()
    assert ("MIT" in loaded.licenses, loaded.told_licenses) == (allowed, told)


def _reasons(*tasks: records.Task, **rules: Any) -> dict[str, str | None]:
    return {task.task_id: task.reason for task in records.decide(tasks, material.rules(**rules))}


def test_of_the_same_patch_the_first_that_can_be_published_is_taken() -> None:
    patch = material.PATCH.format(number=1)
    shifted = patch.replace("@@ -1,2 +1,2 @@", "@@ -11,2 +21,2 @@").replace("1111111", "3333333")
    first = material.task(5, pull_request={"patch": patch}, container=None)
    second, third = (material.task(n, pull_request={"patch": shifted}) for n in (7, 9))
    assert _reasons(third, second, first) == {
        "O-x__r-5": "no verified container",
        "O-x__r-7": None,
        "O-x__r-9": "the same patch as O-x__r-7",
    }


_LACKING = [
    ({"container": None}, "no verified container"),
    ({"environment": None}, "no verified container"),
    ({"pull_request": {"patch": None, "diff_source": "unreachable"}}, "no patch (unreachable)"),
    ({"container": _PROCESS}, "verified without a container: there is no image to push"),
    ({"container": {"checks": []}}, "build has not passed; run stage 6 with --force"),
]
_WRONG = [
    {"classification": {"is_performance": False}},
    {"candidate": {"statement": None, "reason": "no linked issue"}},
    {"candidate": {"leak_suspected": True}},
    {"repository": {"license": "SSPL-1.0"}},
    {"pull_request": {"patch": ""}},
    {"container": {"checks": [{"check": "hygiene", "outcome": "failed", "evidence": "a token"}]}},
]


@pytest.mark.parametrize(("changes", "reason"), _LACKING)
def test_what_is_published_stays_while_its_container_is_only_lacking(
    changes: dict[str, Any], reason: str
) -> None:
    task = material.task(**changes)
    rules = material.rules(registry=_REGISTRY, published={task.task_id: "its patch"})
    [found] = records.decide([task], rules)
    assert (found.stays, found.reason) == (True, f"stays as it was published: {reason}")
    [new] = records.decide([task], material.rules(registry=_REGISTRY))
    assert (new.stays, new.reason) == (False, reason)


@pytest.mark.parametrize("changes", _WRONG)
@pytest.mark.parametrize("lacking", [{}, {"environment": None}])
def test_what_is_published_and_turns_out_wrong_does_not_stay(
    changes: dict[str, Any], lacking: dict[str, Any]
) -> None:
    task = material.task(**changes, **lacking)
    rules = material.rules(registry=_REGISTRY, published={task.task_id: "its patch"})
    [found] = records.decide([task], rules)
    assert found.reason
    assert not found.stays
    assert "container" not in found.reason


def test_a_record_that_stays_has_its_patch_for_itself() -> None:
    lost, same = material.task(5, container=None), material.task(7)
    published = {"O-x__r-5": same.patch_id}
    assert _reasons(lost, same, published=published)["O-x__r-7"] == "the same patch as O-x__r-5"
    [one, other] = records.decide(
        [lost, same], material.rules(published=published, elsewhere={same.patch_id: "O-x__r-1"})
    )
    assert one.reason == other.reason == "the same patch as O-x__r-1"
    assert not one.stays


def test_of_the_same_patch_in_two_months_the_published_one_stays() -> None:
    task = material.task()
    elsewhere = {task.patch_id: "O-x__r-1"}
    assert _reasons(task, elsewhere=elsewhere) == {"O-x__r-3": "the same patch as O-x__r-1"}


def test_what_was_withdrawn_stays_out() -> None:
    withdrawn = {"O-x__r-3": "it leaks"}
    assert _reasons(material.task(), withdrawn=withdrawn) == {"O-x__r-3": "withdrawn: it leaks"}


def test_a_digest_changes_with_all_that_a_record_is_made_of() -> None:
    task, rules = material.task(), material.rules()
    [withdrawn] = records.decide([task], material.rules(withdrawn={task.task_id: "x"}))
    same = records.digest(material.task(), material.rules(withdrawn={"other": "x"}))
    assert records.digest(task, rules) == same
    others = [
        records.digest(task, material.rules(registry=_REGISTRY)),
        records.digest(task, material.rules(told={"o-x/r": "ISC"})),
        records.digest(material.task(candidate={"statement": "It is fast."}), rules),
        records.digest(material.task(container={"best": 2.0}), rules),
        records.digest(withdrawn, rules),
    ]
    assert len({same, *others}) == len(others) + 1


def test_content_does_not_depend_on_order_or_on_columns_that_are_null() -> None:
    one, two = material.rows(1, 2)
    content = records.content([one, two])
    assert records.content([{**two, "new": None}, one]) == content
    checks = [{**check, "new": None} for check in one["checks"]]
    assert records.content([{**one, "checks": checks}, two]) == content
    assert records.content([one, {**two, "pipeline": "formulacode-data 9.9"}]) == content
    assert records.content([one]) != content
    assert records.content([one, {**two, "date": material.WHEN - datetime.timedelta(1)}]) != content


_NAMES = st.text(st.sampled_from("aAbB09-_."), min_size=1, max_size=6)


@hypothesis.given(st.lists(st.tuples(_NAMES, _NAMES), min_size=2, max_size=30))
def test_image_names_are_valid_and_never_collide(pairs: list[tuple[str, str]]) -> None:
    names: dict[str, tuple[str, str]] = {}
    for owner, repo in pairs:
        name, same = records.image_name(owner, repo), (owner.lower(), repo.lower())
        assert _COMPONENT.fullmatch(name), name
        assert names.setdefault(name, same) == same


@pytest.mark.parametrize(
    ("owner", "repo", "name"),
    [
        ("numpy", "numpy", "numpy-numpy"),
        ("a-b", "c", "a--b-c"),
        ("a", "b-c", "a-b--c"),
        ("A", "B.c_d", "a-b.c_d"),
    ],
)
def test_usual_names_can_be_read(owner: str, repo: str, name: str) -> None:
    assert records.image_name(owner, repo) == name


def test_unusual_names_have_their_own_too() -> None:
    unusual = [
        ("a-", "b"),
        ("a", "-b"),
        ("a", ".b"),
        ("a", "b..c"),
        ("a", "b___c"),
        ("-" * 39, "x" * 100),
    ]
    names = [records.image_name(*pair) for pair in unusual]
    assert len(set(names)) == len(names)
    for name, other in itertools.product(names, [("a", "b"), ("ab", "c")]):
        assert name != records.image_name(*other)
        assert len(name) < _LONGEST
