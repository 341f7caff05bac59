"""Threads as people write them: what would tell the solution is not in the statement."""

from typing import Any

import pytest

from fc_assets.candidate_prs.sides import Material, Sides
from tests.fc_assets.candidate_prs.material import comment, issue, state

_PATCH = """diff --git a/r/index.py b/r/index.py
--- a/r/index.py
+++ b/r/index.py
@@ -1,9 +1,8 @@ def lookup(self, keys):
-    out = []
-    for key in keys:
-        out.append(self.values.index(key))
-    return out
+    order = np.argsort(self.values)
+    pos = np.searchsorted(self.values, keys, sorter=order)
+    return order.take(pos, mode="clip")
+tree = STRtree(geoms)
"""
_TITLE, _PULL = "perf: look up in one go", "Lookups sort once and then use `np.searchsorted`."
_SLOW = "`lookup` of 10000 keys takes 3.2 s on my machine, which is far too slow for us."
_CODE = "```python\npos = np.searchsorted(self.values, keys, sorter=order)\n```"


class _Said:
    """An extractor that says this of the problem."""

    name = "said/1"

    def __init__(self, text: str, triage: str = "") -> None:
        self._sides = Sides(text, triage).bounded()

    def extract(self, material: Material) -> Sides:
        return self._sides


def _state(*known: dict[str, Any], told: str = "", **changes: Any) -> dict[str, Any]:
    body = f"Fixes #3\n\n{_PULL} {told or 'From 3.2 s to 15 ms, 213x.'}"
    return state(*known, **{"title": _TITLE, "body": body, "patch": _PATCH, **changes})


def _lookup(body: str = _SLOW, *said: dict[str, Any], title: str = "Lookup takes minutes") -> Any:
    return issue(title=title, body=body, comments=list(said))


@pytest.mark.parametrize(
    ("said", "leak"),
    [
        ("The time is spent in list.index. np.searchsorted does all in one go.", "searchsorted"),
        (f"Confirmed, slow. This one is fine:\n\n{_CODE}", "sorter=order"),
        ("Slow. See https://github.com/bob/r/tree/faster for what I have.", "tree/faster"),
        ("Memory too. A version that is not: https://gist.github.com/bob/0a1b", "gist.github"),
        ("With the loop gone this drops from 3.2 s to 15 ms, a 213x gain.", "15 ms"),
        ("| keys | main | mine |\n|---|---|---|\n| 10000 | 3.2 s | 15 ms (213x) |", "15 ms"),
        ("Same slow thing.\n\n> Lookups sort once and\n> then use np.searchsorted", "sort once"),
        ("The profile says intersection. An STRtree makes it n log n.", "STRtree"),
        ("Slow. Run pip install git+https://github.com/bob/r@faster and see.", "@faster"),
        ("Slow linear scan: https://github.com/bob/r/blob/faster/r/index.py", "blob/faster"),
        ("It is slow; have a look at PR 9 for timings.", "PR 9"),
        ("It is slow; have a look at r/pull/9 for timings.", "pull/9"),
        ("It is slow; have a look at `#9` for timings.", "#9"),
        ("Slow on main, not slow on bob/r@0a1b2c3.", "0a1b2c3"),
        ("Have you tried presorting the values? list.index is slow.", "presorting"),
        ("list.index is slow; a binary search is the way to go.", "binary search"),
        ("Not slow:\n\n```\n-    out = []\n+    pos = sort(x)\n```", "pos = sort"),
        ("Not slow:\n\n```\n--- a/r/x.py\n+++ b/r/x.py\n@@ -1 +1 @@\n+ y\n```", "+ y"),
        ("Slow, but\n\n```python\nIndex.f = lambda s: np.argsort(self.values).x\n```", "argsort"),
        ("The slow loop is in r/index.py; just vectorise it.", "vectorise"),
    ],
)
def test_a_comment_does_not_tell_the_solution(said: str, leak: str) -> None:
    for author in ("ana", "bob"):
        row = _state(_lookup(_SLOW, comment(said, author)))
        assert _SLOW in row["statement"]
        assert leak not in row["statement"]
        assert not row["leak_suspected"]


@pytest.mark.parametrize(
    ("body", "leak"),
    [
        (f"- {_SLOW}\n    - we could use `searchsorted` here, see #77\n- more", "searchsorted"),
        (f"- {_SLOW}\n\n    - as in #77, see there\n", "#77"),
        (f"{_SLOW}\n\nEDIT: turns out that vectorizing helps.", "vectorizing"),
        (f"{_SLOW}\n\n**Describe the solution you'd like**\n\nOne argsort for all.", "argsort"),
        (f"{_SLOW}\n\n### Alternatives\n\nA dict of positions.", "dict"),
        (f"{_SLOW}\n\n### Expected behavior\n\nCache the order between calls.", "Cache"),
    ],
)
def test_a_report_does_not_tell_the_solution(body: str, leak: str) -> None:
    row = _state(_lookup(body))
    assert _SLOW in row["statement"]
    assert leak not in row["statement"]


@pytest.mark.parametrize(
    "title",
    ["Use searchsorted in lookup", "perf: cache lookups", "Replace it", "Switch to x"],
)
def test_a_title_that_proposes_is_not_shown(title: str) -> None:
    row = _state(_lookup(title=title))
    assert title not in row["statement"]
    assert title in row["solution"]


def test_a_title_with_the_result_is_not_shown() -> None:
    assert "15 ms" not in _state(_lookup(title="lookup 3.2 s -> 15 ms"))["statement"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("```python\nr.lookup(keys)\n", "It is `searchsorted` as in #77."),
        ("> ```\n> r.lookup(keys)\n", "It is `searchsorted` as in #77."),
        ("```python\n" + "x = 1\n" * 3_600 + "```\n", "It is `searchsorted` as in #77."),
    ],
)
def test_an_open_code_block_ends_with_what_was_said(code: str, said: str) -> None:
    row = _state(_lookup(f"{_SLOW}\n\n{code}", comment(f"Slow too. {said}")))
    assert "#77" not in row["statement"]
    assert "searchsorted" not in row["statement"]
    assert row["statement"].count("```") % 2 == 0


@pytest.mark.parametrize(
    ("said", "leak"),
    [
        ("With the new one it is 15 ms, 213x.", "15 ms"),
        (f"Do this:\n\n{_CODE}", "sorter=order"),
        ("\n\n```diff\n+    x = 1\n-    out = []\n```", "out = []"),
        ("Sorting the values once, then np.searchsorted, is wanted.", "searchsorted"),
        ("\n\n- slow\n    - as `np.searchsorted` in #9\n", "searchsorted"),
        ("See https://github.com/bob/r/tree/faster.", "tree/faster"),
        ("\n\n```\n%timeit r.f(x)\n\nSolved in #9 by np.searchsorted, see there.", "#9"),
        ("Afterwards 0.015 seconds, a factor of 213.", "0.015"),
        ("\n\n| before | after |\n|-|-|\n| 3.2±0.1s | 15.0±0.2ms |", "15.0"),
    ],
)
def test_what_a_model_says_is_checked(said: str, leak: str) -> None:
    for thread in ((), (comment("On my laptop the new one: 15 ms, 213x.", "bob"),)):
        row = _state(_lookup(_SLOW, *thread), extractor=_Said(f"{_SLOW} {said}"))
        assert leak not in row["statement"]
        assert row["cut"]


def test_a_time_from_before_is_no_leak() -> None:
    told = "\n\nBefore: 40.5 s\n\nAfter: 15 ms"
    row = _state(_lookup(), told=told, extractor=_Said(f"{_SLOW} It takes 40.5 s for one."))
    assert "40.5 s" in row["statement"]
    assert not row["leak_suspected"]


def test_a_pull_request_may_repeat_the_report() -> None:
    row = _state(_lookup(), told=_SLOW)
    assert (row["cut"], row["leak_suspected"]) == ([], False)


def test_a_commit_that_made_it_slow_is_no_leak() -> None:
    said = "Bisected: the slow one was introduced in commit 0a1b2c3d4e, that is #812."
    assert said in _state(_lookup(_SLOW, comment(said, "bob")))["statement"]


@pytest.mark.parametrize(
    "known",
    [issue(title="lookup", body=" "), issue(title="Release 1.2", body="Please tag it.")],
)
def test_an_issue_without_the_problem_does_not_win(known: dict[str, Any]) -> None:
    own = "`lookup` with 10000 keys takes 40 s at our site and blocks the import."
    row = _state(known, body=f"Fixes #3\n\n## Motivation\n\n{own}\n\n## Changes\n\nSort once.")
    assert own in row["statement"]
    assert f"## {known['title']}" not in row["statement"]
    assert state(issue(title="lookup", body=" "), body="Fixes #3")["statement"] is None
