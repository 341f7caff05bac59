"""Signs of the solution in a problem, each kind, and what is left without them."""

import pytest
from hypothesis import given

from fc_assets.candidate_prs import figures, leaks
from tests.fc_assets.candidate_prs.test_markdown import PIECES

_PATCH = """\
diff --git a/r/core.py b/r/core.py
--- a/r/core.py
+++ b/r/core.py
@@ -1,3 +1,4 @@ def parse_file(path):
 context_name = 1
-old_name = 1
+import bisect
+parsed_cache = {}
+# Keep the parsed lines between calls.
+use(parsed_cache, searchSorted, old_name)
--- a/tests/test_core.py
+++ b/tests/test_core.py
+test_only_name(public_name)
"""


def _solution(
    *texts: str, reported: tuple[str, ...] = (), sha: str = "ab12" * 10
) -> leaks.Solution:
    known = {("o/r", 3), ("x/y", 4)}
    return leaks.Solution("o", "r", texts, reported, known, _PATCH, sha, number=9)


def _found(text: str, *texts: str, reported: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    return [
        (leak.kind, leak.what)
        for leak in leaks.find_all(text, _solution(*texts, reported=reported))
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Why is there no parsed_cache here?", ["parsed_cache"]),
        ("Try `np.searchSorted`.", ["searchSorted"]),
        ("Would `bisect` do, or bisect, or `bisect()`?", ["bisect"]),
        ("parse_file, old_name, context_name and core are slow", []),
        ("bisect is a plain word, and so is use", []),
        ("Would np.bisect do, or bisect()?", ["bisect"]),
        ("test_only_name and public_name are in tests only", []),
        ("```python\nx = public_name(searchSorted)\n```", []),
        ("```python\nparsed_cache = 1\n```", ["parsed_cache"]),
    ],
)
def test_names_only_the_diff_introduces(text: str, names: list[str]) -> None:
    assert _found(text) == [("identifier", name) for name in names]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Then: *keep* the parsed **lines**, between calls!", True),  # a comment of the diff
        ("It keeps every row in memory.", True),
        ("He said it keeps every row in memory for as long as the process runs on.", True),
        ("It keeps rows in memory.", False),
        ("Slow as ever.", False),
    ],
)
def test_shared_sentences(text: str, kind: bool) -> None:
    told = "It keeps  every `row` in memory.\nI think it keeps every row in memory for as long as."
    text = text if not text.startswith("Then") else "Keep *the* parsed **lines** between calls!"
    found = _found(text, told, "Slow as ever.")
    assert [leak for leak, _ in found] == (["sentence"] if kind else [])


@pytest.mark.parametrize(
    ("text", "told", "found"),
    [
        ("It could be 3.0x faster", "3x faster", ["3x"]),
        ("3 times faster", "speed-up of 3\u00d7", ["3x"]),
        ("3-fold", "ratio 3x", ["3x"]),
        ("50 % less", "uses 50% less", ["50%"]),
        ("then 300 ms", "from 2.1 s to 0.3 s", ["0.3 s"]),
        ("it takes 2.1 s", "from 2.1 s to 0.3 s", []),
        ("it takes 2.1 s", "| bench | 2.1±0.1 s | 300 ms | 0.14 |", []),
        ("14 MB", "memory from 3.4 GB to 14 MB", ["1.46801e+07 B"]),
        ("twice as fast", "now twice as fast", ["twice"]),
        ("4x faster", "3x faster", []),
        ("x3 and 3 xs, 3xy", "3x faster", []),
    ],
)
def test_figures_of_the_solution(text: str, told: str, found: list[str]) -> None:
    assert _found(text, told) == [("figure", figure) for figure in found]


def test_a_figure_that_was_reported_tells_nothing() -> None:
    assert _found("It is 5x slower.", "It was 5x slower.", reported=("5x slower than numpy",)) == []


def test_a_result_stays_one_when_an_issue_repeats_it() -> None:
    assert _found("It is 5x.", "Now 5x faster.", reported=("I saw 5x.",)) == [("figure", "5x")]
    assert _found("It takes 3 s.", "3 s for a file", reported=("It takes 3 s.",)) == []
    assert _found("It takes 3 s.", "3 s for a file") == [("figure", "3 s")]


def test_a_sentence_that_was_reported_may_be_in_the_pull_request_too() -> None:
    told = "It reads every row of the file again and again. It keeps them."
    assert _found(told[:47], told) != []
    assert _found(told[:47], told, reported=(told[:47],)) == []


def test_code_that_was_reported_may_be_in_the_pull_request_too() -> None:
    code = "```python\nfor line in open(path): parse(line, keep=True)\n```"
    assert _found(code, f"I ran\n\n{code}") != []
    assert _found(code, f"I ran\n\n{code}", reported=(f"Slow:\n\n{code}",)) == []


def test_figures_have_one_spelling() -> None:
    assert figures.all_of("1,500 ms = 1.5 s, 90 s = 1.5 min, 2 h") == {"1.5 s", "90 s", "7200 s"}
    assert figures.all_of("version 3.12, 3 files, v2s, 3m/s, " + "9" * 400 + " s") == frozenset()


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("This is #9 again.", "o/r#9"),
        ("See https://github.com/o/r/pull/9 for it.", "github.com/o/r/pull/9"),
        ("See https://github.com/x/y/commit/abc for it.", "github.com/x/y/commit/abc"),
        ("In x/y#5.", "x/y#5"),
        ("Since ab12ab12ab.", "ab12ab12ab"),
        ("Since commit deadbeef1.", "deadbeef1"),
        ("Since " + "0a" * 20, "0a" * 20),
        ("See #3, x/y#4 and https://github.com/o/r/issues/3.", None),
        ("The hash deadbeef1 or 1234567 or accede7.", None),
        ("```\nx = 1  # see #8\n```", None),
        ("```\nx = 1  # see #9\n```", "#9"),
        ("Since commit `deadbeef1`.", "deadbeef1"),
        ("Since `ab12ab12ab`.", "ab12ab12ab"),
        ("```\nab12ab12ab\n```", None),
        ("See PR 9.", "PR 9"),
        ("See pull request 9.", "pull request 9"),
        ("See o/r/pull/9.", "/pull/9"),
        ("See `#9`.", "#9"),
        ("https://api.github.com/repos/o/r/pulls/9", "github.com/repos/o/r/pulls/9"),
        ("https://redirect.github.com/o/r/issues/9", "/issues/9"),
        ("https://github.com/o/r/files/12/x.txt", "github.com/o/r/files/12/x.txt"),
        ("https://github.com/x/r/compare/a...b", "github.com/x/r/compare/a...b"),
        ("https://github.com/x/r/raw/b/x.py", "github.com/x/r/raw/b/x.py"),
        ("https://gist.github.com/x/0a1b", "gist.github.com/x/0a1b"),
        ("pip install git+https://example.org/r@b", "git+https://example.org/r@b"),
        ("Not on x/r@0a1b2c3.", "x/r@0a1b2c3"),
        ("It takes 9 s for PR 90 and 9 files, or 3.9 of 5.", None),
        ("Bisected to commit deadbeef1, that is #8.", None),
        ("Introduced in https://github.com/o/r/pull/8", None),
        ("Introduced in commit deadbeef1, fixed in #9.", "o/r#9"),
    ],
)
def test_links_to_the_solution(text: str, link: str | None) -> None:
    assert _found(text) == ([("link", link)] if link else [])


def test_what_leaks_is_cut_and_named() -> None:
    text = "It is slow. Add a parsed_cache. On Linux.\n\n- #9\n- 3 s\n\nSee #9.\n\nBye."
    rest, cuts = leaks.cut(text, _solution())
    assert rest == "It is slow. On Linux.\n\n- 3 s\n\nBye."
    assert [(c.leak.kind, c.text) for c in cuts] == [
        ("identifier", "Add a parsed_cache."),
        ("link", "- #9"),
        ("link", "See #9."),
    ]


@given(PIECES)
def test_cutting_only_removes(text: str) -> None:
    rest, cuts = leaks.cut(text, _solution("It is slow.", "Then @ana"))
    characters = iter(text)
    assert all(character in characters for character in rest)
    assert rest == text or cuts


@pytest.mark.parametrize(
    ("rest", "whole", "says"),
    [
        ("## Parsing is slow", "## Parsing is slow", True),
        ("## Parsing is slow", "## Parsing is slow\n\nAnd here is much more of it to read.", False),
        ("It takes a long time to parse this file.", "x " * 100, True),
        ("- x", "- x", False),
        ("", "", False),
    ],
)
def test_what_is_left_has_to_say_something(rest: str, whole: str, says: bool) -> None:
    assert leaks.says_something(rest, whole) == says
