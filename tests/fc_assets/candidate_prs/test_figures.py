"""Figures in one spelling, and on which side of a change they are."""

import pytest

from fc_assets.candidate_prs import anonymize, figures, fixes, leaks, links, markdown, rules
from tests.fc_assets.candidate_prs.material import issue, state


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("Takes 15 ms instead of 3.2 s.", {"3.2 s"}, {"0.015 s"}),
        ("Now 15 ms, it was 3.2 s.", {"3.2 s"}, {"0.015 s"}),
        ("Now it takes 15 ms and 0.5 s.", set(), {"0.015 s", "0.5 s"}),
        ("Now it takes 15 ms and 1 KB.", set(), {"0.015 s", "1024 B"}),
        ("After: 15 ms\nBefore: 3.2 s", {"3.2 s"}, {"0.015 s"}),
        ("After  15 ms ± 2 ms", set(), {"0.015 s"}),
        ("From 3.2 s to 15 ms, 213x.", {"3.2 s"}, {"0.015 s", "213x"}),
        ("3 s -> 1 s, 2 KB -> 1 KB", {"3 s", "2048 B"}, {"1 s", "1024 B"}),
        ("3.2 s before, 15 ms after", {"3.2 s"}, {"0.015 s"}),
        ("| keys | main | mine |\n|---|---|---|\n| 9 | 3 s | 1 s (3x) |", {"3 s"}, {"1 s", "3x"}),
        ("| after | before |\n|-|-|\n| 1 s | 3 s |", {"3 s"}, {"1 s"}),
        ("| bench | 3 s | 1 s | 0.3 |", {"3 s"}, {"1 s"}),
        ("Before:\n\n```\n3 s\n```\n\nAfter:\n\n```\n1 s\n```", {"3 s"}, {"1 s"}),
        ("It was 5x slower.", {"5x"}, set()),
        ("98% of the time is in f.", set(), set()),
        ("It needs 40% less memory.", set(), {"40%"}),
        ("## Currently\n\nSlow.\n\n## Now\n\n15 ms", set(), {"0.015 s"}),
        ("## Currently\n\nSlow.\n\n## Results\n\n15 ms", set(), set()),
        ("It was slow.\n15 ms for each.", set(), set()),
        ("It takes 3 s.", set(), set()),
    ],
)
def test_words_and_headings_tell_before_from_after(
    text: str, before: set[str], after: set[str]
) -> None:
    found = figures.sides(text)
    assert (found[figures.BEFORE], found[figures.AFTER]) == (before, after)


@pytest.mark.parametrize(
    ("text", "figure"),
    [
        *(
            (t, "213x")
            for t in ("213 times", "a factor of 213", "speedup of 213", "213 \u00d7 quicker")
        ),
        *((t, "0.015 s") for t in ("15msec", "15 milli-seconds", "15,0 ms", "15.0(2)ms")),
        *((t, "0.015 s") for t in ("1.5e-2 s", "15 msecs", "0.015s")),
        ("1,500.5 ms", "1.5005 s"),
    ],
)
def test_spellings(text: str, figure: str) -> None:
    assert figures.all_of(text) == {figure}


#: More than a minute each where a pattern begins again at each of its parts.
_LONG = [
    "1" + ",234" * 15_000,
    "[" + ",".join(str(100 + i % 900) for i in range(15_000)) + "]",
    "@" + "a" * 60_000 + "\n",
    "@" + "a." * 30_000 + "\nx\n",
    "1 s " + "-" * 60_000,
    "from " * 12_000,
    "On 1" + "\nOn 1" * 12_000,
    "/home/" * 10_000,
    "<details>" * 6_000 + "python:",
    "PR " * 20_000,
    "since commit " * 4_500,
    "a/b@" * 15_000,
    "```\nx\n\n" * 8_000,
    "(base) a@b:" * 5_000,
    "> ![a](x_(1" * 5_000,
    "<!-- " * 12_000,
    "a = " * 15_000,
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", _LONG, ids=range(len(_LONG)))
def test_the_work_is_bounded_by_the_length(text: str) -> None:
    figures.sides(text)
    assert figures.all_of(text) is not None
    anonymize.anonymize(text)
    rules.split(text)
    list(fixes.shared(text, fixes.runs([text], [text])))
    links.to_changes(text, False, ("o", "r", 9), set(), "")
    assert markdown.visible(markdown.closed(text)) is not None


@pytest.mark.timeout(20)
def test_each_report_is_read_once() -> None:
    # Less than 1 s; a minute or more if any use of the reports read them again for each block.
    code = (f"```\nr.f({i})  # with as many words as a run has\n```\n\n" for i in range(2_000))
    reported = [f"{'word ' * 10_000}\n```\n{'word ' * 10_000}\n```\n"] * 9
    solution = leaks.Solution("o", "r", ["x"], reported, set(), None, "a" * 40)
    assert leaks.find_all("".join(code), solution) == []


@pytest.mark.timeout(20)
def test_a_report_of_nothing_but_numbers_is_read_in_time() -> None:
    row = state(issue(body=f"It is slow. {_LONG[0]}"), body=f"Fixes #3\n\n{_LONG[1]}")
    assert row["statement"]
