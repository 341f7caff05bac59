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
        ("1. ```python\n   x()\n   ```\n\nb", ["1. ```python\n   x()\n   ```\n\n"]),
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
        ("Use `<!--` here.\n\n<!-- hidden -->\nb --> c", "Use `<!--` here.\n\n\nb --> c"),
        ("```\n<!-- x\n```\n\n<!-- hidden -->b", "```\n<!-- x\n```\n\nb"),
        ("<!--\n```\nx\n-->a <!-- hidden -->b", "a b"),
        ("![a](https://x.example.org/p_(1).png) b", "(image a) b"),
        ("![a\nb](https://x.example.org/p.png)", "(image a\nb)"),
    ],
)
def test_comments_and_images_are_not_visible(text: str, visible: str | None) -> None:
    assert markdown.visible(text) == (text if visible is None else visible)


def test_code_is_told_from_prose_where_it_stands() -> None:
    text = "- one\n    - two\n\n    - three\n\nIt is\n\n    code\n"
    assert [unit.text.strip() for unit in markdown.parts(text) if unit.is_code] == ["code"]
    assert [unit.text for unit in markdown.parts(text)] == markdown.units(text)


def test_lines_of_a_quote_are_one_text() -> None:
    text = "So he said:\n> It is\n> slow. Very\n> slow.\n> - item\nYes."
    assert markdown.units(text) == [
        "So he said:\n",
        "> It is\n> slow. ",
        "Very\n> slow.\n",
        "> - item\n",
        "Yes.",
    ]


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ("a\n```\nx\n```\nb", None),
        ("a\n~~~~\nx\n\ny\n", "a\n~~~~\nx\n\ny\n~~~~\n"),
        ("```\nx\n\nThis is said about it.", "```\nx\n```\n\nThis is said about it."),
        ("a", None),
    ],
)
def test_what_is_open_is_closed(text: str, closed: str | None) -> None:
    assert markdown.closed(text) == (text if closed is None else closed)


@given(PIECES)
def test_after_closing_comes_prose(text: str) -> None:
    once = markdown.closed(text)
    assert markdown.closed(once) == once
    assert not markdown.blocks(f"{once}\n\n- x")[-1].is_code
