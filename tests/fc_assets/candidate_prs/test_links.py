"""References to issues: prose counts, code and e-mail addresses do not."""

import pytest

from fc_assets.candidate_prs import links


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Fixes #12 and closes #7, again #12", ["o/r#12", "o/r#7"]),
        ("see o/r#5, O/R#6 and Other/r#8", ["o/r#5", "o/r#6", "other/r#8"]),
        ("(#3), [#4], #5. #6: **#7**", ["o/r#3", "o/r#4", "o/r#5", "o/r#6", "o/r#7"]),
        ("https://github.com/o/r/issues/31.", ["o/r#31"]),
        ("http://www.github.com/O/other.py/issues/31#issuecomment-9", ["o/other.py#31"]),
        ("[31](https://github.com/o/r/issues/31)", ["o/r#31"]),
        ("https://github.com/o/r/pull/31 and https://github.com/o/r/pull/31#discussion_r1", []),
        ("https://example.org/page#12 and https://gitlab.com/o/r/issues/3", []),
        ("GH-12, gh-13 and high-14", ["o/r#12", "o/r#13"]),
        ("`#1` and\n```\nx = y  #2\n```\nand\n~~~\n#3", []),
        ("Like so:\n\n    x = 1  # see #4\n\nand #5", ["o/r#5"]),
        ("- Fixes\n\n    #6", ["o/r#6"]),
        ("<!-- Closes #7 --> <pre>#8</pre>", []),
        ("mail a#4@example.org, a.b+#5@x.example.org, #6@example.org, colour &#123; word#9", []),
        ("#0 #123abc #" + "9" * 5000, []),
        ("", []),
    ],
)
def test_references_in_prose_count_and_others_do_not(text: str, found: list[str]) -> None:
    assert [f"{name}#{number}" for name, number in links.references(text, "o", "r")] == found
