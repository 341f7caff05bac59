"""The embedded extractor: what is the problem by rules, and what is not."""

import pytest
from hypothesis import given

from fc_assets.candidate_prs import rules
from tests.fc_assets.candidate_prs.material import comment, issue, state
from tests.fc_assets.candidate_prs.test_markdown import PIECES


@pytest.mark.parametrize(
    "text",
    [
        "We could keep the parsed files in a dictionary.",
        "My branch makes it 12x faster.",
        "The obvious solution is a table.",
        "Iterate columns instead of rows.",
        "Why not sort them first?",
        "You should switch to a set. It maps names to rows.",
        "Like this we could do it:\n\n```python\nx = set(y)\n```",
        "```diff\n-x\n+y\n```",
        "```\n-x = list(y)\n+x = set(y)\n```",
        "Have you considered a set?",
        "Turns out a set is enough.",
        "Vectorising it is the way to go.",
        "### Describe the solution you'd like\n\nA set of names.\n\nIt is small.",
        "**Describe alternatives you've considered**\n\nA dictionary of names.",
    ],
)
def test_what_tells_the_solution_goes_to_its_side(text: str) -> None:
    row = state(issue(body=f"It is slow.\n\n{text}"))
    assert "It is slow." in row["initial_observations"]
    for line in text.splitlines():
        assert line not in row["statement"] or not line
        assert line in row["solution_overview"]


@pytest.mark.parametrize(
    "text",
    [
        "I use a script that reads 3 files; it takes 3 s instead of 0.1.",
        "After switching to 2.0 one suggestion takes 1.6 s.",
        "Drawing a patch and replacing values are slow, as is finding the solution vector.",
        "It is 5x slower than numpy.",
        "I can reproduce it with merged frames.",
        "You can see it in the profile:\n\n```\n 48 % spans\n```",
        "To reproduce, one can use\n\n```python\nr.lookup(k)\n```\n\nwhich takes 40 s here.",
        "It takes 3 s.\n\nYou could run this to see it:\n\n```python\nr.lookup(k)\n```",
        "We now use version 3 and it is 10x slower than before using 2.",
        "It loops over every key instead of once per call, taking 40 s.",
        "It takes 3 s, so we should be able to do more.",
    ],
)
def test_what_describes_the_problem_stays(text: str) -> None:
    assert text in state(issue(body=text))["statement"]


def test_what_a_form_asks_for_is_left_out() -> None:
    text = (
        "### Checks\n\n- [X] I have checked.\n- [ ] I have not.\n\n### Example\n\nIt is slow.\n\n"
        "<details>\n\nINSTALLED VERSIONS\n------\ncommit : 0a0a\n\n</details>\n\n_No response_\n\n"
        "<details><summary>Profile</summary>3 s</details>"
    )
    shown = state(issue(body=text))["initial_observations"]
    assert "It is slow." in shown
    assert "Profile" in shown
    assert not any(word in shown for word in ("I have", "VERSIONS", "response"))


def test_only_the_versions_are_left_out_of_several_details() -> None:
    text = (
        "It is slow.\n\n<details><summary>Example</summary>\n\n```\nr.f(3)\n```\n</details>\n\n"
        "<details><summary>INSTALLED VERSIONS</summary>\npython : 3.11\n</details>\n"
    )
    shown = state(issue(body=text))["initial_observations"]
    assert "r.f(3)" in shown
    assert "3.11" not in shown


def test_what_comes_after_the_solution_of_a_form_is_the_problem_again() -> None:
    kept, cut = rules.split("Slow.\n\n### Solution\n\nA set.\n\n### Versions\n\nOn 3.12.")
    assert kept == "Slow.\n\n### Versions\n\nOn 3.12."
    assert cut == "### Solution\n\nA set."


def test_links_to_other_pull_requests_are_cut_and_no_more() -> None:
    text = "https://github.com/o/r/pull/5 made it slow. It takes 3 s.\n\n```\nasv run\n```"
    row = state(issue(body=text))
    assert "pull/5" not in row["statement"]
    assert "It takes 3 s.\n\n```\nasv run\n```" in row["statement"]


def test_what_comes_after_a_suggestion_belongs_to_it() -> None:
    kept, cut = rules.split("It takes 3 s. You could cache it. A dict would do.\n\nOn Linux.")
    assert kept == "It takes 3 s. \n\nOn Linux."
    assert cut == "You could cache it. A dict would do."


@given(PIECES)
def test_a_split_loses_nothing(text: str) -> None:
    kept, cut = rules.split(text)
    assert sorted("".join((kept + cut).split())) == sorted("".join(text.split()))


def test_of_others_only_what_measures_or_reproduces_is_triage() -> None:
    said = [
        comment("Keep rows.", "bob"),
        comment("Reproduced on 3.12, the profile is flat.", "bob"),
        comment("Also on Windows."),
        comment("Nobody's words: it takes 4 s.", None),
    ]
    row = state(issue(author=None, comments=said[3:]))
    assert row["triage"] == "Nobody's words: it takes 4 s."
    row = state(issue(comments=said))
    assert "Also on Windows." in row["initial_observations"]
    assert row["triage"].startswith("Reproduced on 3.12")
    assert "Keep rows." not in row["statement"]
    assert "Keep rows." in row["solution_overview"]


def test_an_issue_that_is_only_mentioned_has_to_be_about_speed() -> None:
    other = issue(4, title="How is ß lower-cased?", body="A question.")
    assert "ß" not in state(issue(), other, body="Fixes #3, see #4")["statement"]
    assert "ß" in state(other, body="See #4")["statement"]


def test_the_body_of_a_pull_request_is_the_solution_but_for_what_it_marks() -> None:
    body = (
        "## Problem\n\nReading is slow.\n\n```\nslow()\n```\n\n"
        "## Change\n\nKeeps what was read.\n\n> It is slow.\n\n"
        "| main | here |\n|---|---|\n| 3 s | 1 s |"
    )
    row = state(body=body)
    assert row["initial_observations"] == "Reading is slow.\n\n```\nslow()\n```"
    assert row["solution_overview"].endswith("## Change\n\nKeeps what was read.")
    assert row["solution_observations"].startswith("| main | here |")
    assert (
        "Currently it takes 3 s." in state(body="Currently it takes 3 s.\n\nNo more.")["statement"]
    )
    # An issue tells it better.
    assert "slow()" not in state(issue(), body=f"Fixes #3\n\n{body}")["statement"]


def test_comments_on_the_pull_request_are_the_solution_side() -> None:
    events = [
        {"kind": "comment", "reference": None, "is_pull_request": None, **comment("Nice trick.")},
        {"kind": "review", "reference": None, "is_pull_request": None, **comment("Now 3x faster")},
        {
            "kind": "comment",
            "reference": None,
            "is_pull_request": None,
            **comment("Coverage 3%", "codecov[bot]"),
        },
    ]
    row = state(issue(), body="Fixes #3", events=events)
    assert row["solution_overview"].endswith("user_1: Nice trick.")
    assert row["solution_observations"] == "user_1: Now 3x faster"
