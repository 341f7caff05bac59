"""Who announces a solution is cut, who reports is not."""

import pytest

from fc_assets.candidate_prs import announces


@pytest.mark.parametrize(
    "text",
    [
        "Upgraded: not fixed in 1.4.2, I still see 40 s. The profile is 98% list.index.",
        "It isn't fixed in #8.",
        "Is this fixed in v2.1? On 2.1 it still takes 40 s.",
        "This should be fixed, it takes 40 s for 10k rows.",
        "Regression introduced in https://github.com/o/r/pull/100: 0.1 s before, 40 s after it.",
        "Bisected to https://github.com/o/r/commit/0a1b2c3d4e; the profile shows list.index.",
        "I can reproduce it, 3 s on my PR: no. The profile is below.",
    ],
)
def test_reports_stay(text: str) -> None:
    assert announces.cut(text, lambda _: False) == (text, "")


@pytest.mark.parametrize(
    "told",
    [
        "Fixed by #9. It keeps the order now.",
        "This is fixed in 2.1.",
        "It should be fixed now.",
        "I opened a PR for it:\n\n```\nx = set(y)\n```\n",
        "See https://github.com/o/r/pull/9.",
        "This was fixed.",
        "OWN",
    ],
)
def test_only_the_announcement_is_cut(told: str) -> None:
    text = f"It takes 40 s here.\n\n{told}\n\nThe profile is flat."
    kept, cut = announces.cut(text, lambda unit: "OWN" in unit)
    assert kept == "It takes 40 s here.\n\nThe profile is flat."
    assert cut.strip() == told.strip()
