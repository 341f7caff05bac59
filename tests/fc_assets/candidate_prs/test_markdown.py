"""Texts fall into parts that join to the whole, and code is told from prose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc_assets.candidate_prs import markdown

#: What Markdown gives a meaning, in any order.
PIECES = st.lists(
    st.sampled_from(
        [
            *("It is slow.", " ", "\n", "\n\n", "    x = 1\n", "```\n", "~~~~\n", "```python\n"),
            *("`a`", "``b ` c``", "`", "- item\n", "| a | b |\n", "# Title\n", "> said\n", "\t"),
            *("3 s. Then", "e.g. This", "\r\n", "\u2028", "@ana", "a@b.org", "/home/bob/x"),
        ]
    ),
    max_size=30,
).map("".join)


@given(PIECES | st.text())
def test_parts_join_to_the_whole(text: str) -> None:
    assert "".join(block.text for block in markdown.blocks(text)) == text
    assert "".join(piece for piece, _ in markdown.pieces(text)) == text
    assert "".join(markdown.units(text)) == text
    assert "".join(markdown.sentences(text)) == text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a\n\n```\nx\n\ny\n```\nb", ["```\nx\n\ny\n```\n"]),
        ("```\nnever closed\n\nx", ["```\nnever closed\n\nx"]),
        ("````\n```\nx\n```\n````\nb", ["````\n```\nx\n```\n````\n"]),
        ("~~~\n```\n~~~\nb", ["~~~\n```\n~~~\n"]),
        (
            "Like:\n\n    @property\n    def x\n\n    y\n\nb",
            ["    @property\n    def x\n\n    y\n\n"],
        ),
        ("- item\n\n    goes on\n", []),
        ("prose\n    goes on\n", []),
    ],
)
def test_code_blocks_are_found(text: str, code: list[str]) -> None:
    assert [block.text for block in markdown.blocks(text) if block.is_code] == code


def test_units_are_sentences_items_rows_and_whole_code_blocks() -> None:
    text = (
        "# Slow\nIt takes 3.5 s, e.g. For a file. `a. B` is\nthe cause!\n\n"
        "- one. Two\n| a. B |\n\n```\nx. Y\n\nz\n```\n"
    )
    assert markdown.units(text) == [
        "# Slow\n",
        "It takes 3.5 s, e.g. For a file. ",
        "`a. B` is\nthe cause!\n\n",
        "- one. Two\n",
        "| a. B |\n\n",
        "```\nx. Y\n\nz\n```\n",
    ]


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("a <!-- Tell us\n\n```\nmore -->b", "a b"),
        ("`<!-- a -->`\n\n```\n<!-- b -->\n![c](d)\n```", None),
        ("a <!-- never closed", "a "),
        ("![a plot](https://x.example.org/p.png?who=you) b", "(image a plot) b"),
        ('<img src="https://x.example.org/p.png" width=1> ![x][1]', "(image ) (image x)"),
        ("[text](https://example.org)", None),
    ],
)
def test_comments_and_images_are_not_visible(text: str, visible: str | None) -> None:
    assert markdown.visible(text) == (text if visible is None else visible)
