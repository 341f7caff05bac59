"""Diffs cut to a size: what is kept is whole, what is left out is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc_assets.pr_classifications import diffs


def _file(path: str, hunks: int, lines: int = 3) -> str:
    head = f"diff --git a/{path} b/{path}\nindex 1..2 100644\n--- a/{path}\n+++ b/{path}\n"
    body = [f"@@ -{n},{lines} +{n},{lines} @@\n" + f"+line {n}\n" * lines for n in range(hunks)]
    return head + "".join(body)


def _is_core(path: str) -> bool:
    return path.startswith("lib/")


def test_a_diff_that_fits_is_left_as_it_is() -> None:
    patch = _file("docs/a.md", 2) + _file("lib/a.py", 2)
    assert diffs.shortened(patch, 1000, _is_core) == patch


def test_the_librarys_own_files_come_first_and_the_rest_is_named() -> None:
    own = _file("lib/a.py", 2)
    patch = _file("docs/a.md", 50) + own + _file("tests/a.py", 1)
    short = diffs.shortened(patch, len(own) // 4 + 200, _is_core)
    assert short.startswith(own)
    assert "of 50 hunks of docs/a.md left out" in short
    assert "# 1 of 1 hunks of tests/a.py left out" in short


def test_hunks_are_whole() -> None:
    patch = _file("lib/a.py", 9, lines=20)
    short = diffs.shortened(patch, 200, _is_core)
    kept, note = short.rsplit("# ", 1)
    assert patch.startswith(kept)
    assert patch[len(kept) :].startswith("@@ ")
    assert note == f"{9 - kept.count('@@ -')} of 9 hunks of lib/a.py left out\n"


def test_a_small_hunk_after_a_large_one_is_kept() -> None:
    large = _file("lib/a.py", 1, lines=2000)
    patch = large + "@@ -9 +9 @@\n+small\n"
    assert "+small" in diffs.shortened(patch, 100, _is_core)


def test_files_without_hunks_have_a_name_too() -> None:
    renamed = (
        "diff --git a/x b/lib/y.py\nsimilarity index 100%\nrename from x\nrename to lib/y.py\n"
    )
    binary = "diff --git a/d.bin b/d.bin\nGIT binary patch\nliteral 9\n" + "z" * 4000 + "\n"
    short = diffs.shortened(renamed + binary, 100, _is_core)
    assert short.startswith(renamed)
    assert "# 1 of 1 hunks of d.bin left out" in short


def test_a_name_with_blanks() -> None:
    path = "docs/read me.md"
    patch = (
        f"diff --git a/{path} b/{path}\n--- a/{path}\t\n+++ b/{path}\t\n@@ -1 +1 @@\n+{'x' * 999}"
    )
    assert "hunks of docs/read me.md left" in diffs.shortened(patch, 50, _is_core)


@pytest.mark.parametrize("tokens", [1, 50, 1000])
@pytest.mark.parametrize("path", ["f{}.py", "long/" * 800 + "f{}.py"])
def test_thousands_of_files_do_not_fill_it(tokens: int, path: str) -> None:
    patch = "".join(_file(path.format(n), 1) for n in range(500))
    short = diffs.shortened(patch, tokens, _is_core)
    assert len(short) < tokens * 4 + 400
    assert "more files" in short


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("git", [True, False])
def test_diffs_of_other_programs_are_read_too(ends: str, git: bool) -> None:
    docs, own = _file("docs/a.md", 90), _file("lib/a.py", 2)
    if not git:
        docs, own = (text.partition("index 1..2 100644\n")[2] for text in (docs, own))
    patch = (docs + own).replace("\n", ends)
    short = diffs.shortened(patch, 400, _is_core)
    assert short.startswith(own.replace("\n", ends))
    assert "hunks of docs/a.md left out" in short


def test_what_stands_before_the_first_file_is_not_lost() -> None:
    patch = "From 1 Mon\nSubject: faster\n\n" + _file("lib/a.py", 1) + _file("docs/a.md", 90)
    short = diffs.shortened(patch, 400, _is_core)
    assert short.startswith(_file("lib/a.py", 1))
    assert "Subject: faster" in short


def test_a_quoted_name_is_that_of_a_core_file() -> None:
    own = _file("lib/a.py", 1).replace("a/lib/a.py b/lib/a.py", '"a/lib/\\303\\251.py" X')
    own = own.replace("b/lib/a.py", '"b/lib/\\303\\251.py"')
    short = diffs.shortened(_file("docs/a.md", 90) + own, 400, _is_core)
    assert short.startswith(own)


@given(st.text(max_size=300), st.integers(0, 60))
def test_anything_can_be_cut(patch: str, tokens: int) -> None:
    short = diffs.shortened(patch, tokens, _is_core)
    assert short == patch or "left out" in short
