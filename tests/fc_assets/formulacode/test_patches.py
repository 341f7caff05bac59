"""Which patches are the same, compared to what git itself says."""

import subprocess
from pathlib import Path

import pytest

from fc_assets.formulacode.patches import patch_id

_ONE = """\
diff --git a/a.py b/a.py
index 1111111..2222222 100644
--- a/a.py
+++ b/a.py
@@ -1,3 +1,3 @@ def f():
 x
-slow
+fast
 y
"""
_TWO = """\
diff --git a/b.py b/b.py
new file mode 100644
index 0000000..3333333
--- /dev/null
+++ b/b.py
@@ -0,0 +1,2 @@
+one
+--- two
"""


def _git(patch: str) -> str:
    done = subprocess.run(
        ["git", "patch-id", "--stable"], input=patch, capture_output=True, text=True, check=True
    )
    return done.stdout.split()[0]


_VARIANTS = {
    "same": _ONE + _TWO,
    "another order of files": _TWO + _ONE,
    "other lines": (_ONE + _TWO).replace(
        "@@ -1,3 +1,3 @@ def f():", "@@ -101,3 +110,3 @@ def g():"
    ),
    "other blobs": (_ONE + _TWO).replace("1111111", "4444444"),
    "other blanks": (_ONE + _TWO).replace("+fast", "+\tf a  st"),
    "another line": (_ONE + _TWO).replace("+fast", "+faster"),
    "another context": (_ONE + _TWO).replace(" x\n", " z\n"),
    "another file": (_ONE + _TWO).replace("a.py", "c.py"),
    "half of it": _ONE,
    "another mode": (_ONE + _TWO).replace("new file mode 100644", "new file mode 100755"),
}


def test_patches_are_the_same_when_git_says_so() -> None:
    ours = {name: patch_id(patch) for name, patch in _VARIANTS.items()}
    gits = {name: _git(patch) for name, patch in _VARIANTS.items()}
    for name in _VARIANTS:
        assert (ours[name] == ours["same"]) == (gits[name] == gits["same"]), name
    assert len(set(ours.values())) == len(set(gits.values())) == 6


@pytest.mark.parametrize("first", ["", "--- a/r/core.py\n+++ b/r/core.py\n"])
def test_a_patch_without_headers_of_git_has_an_id_too(first: str) -> None:
    old, new = (f"{first}@@ -1 +1 @@\n-slow = {n}\n+fast = {n}\n" for n in (1, 2))
    assert (patch_id(old) != patch_id(new)) == bool(first)
    assert patch_id(old) == patch_id(old.replace("@@ -1 +1 @@", "@@ -9 +9 @@"))


def test_binary_files_count_by_their_content() -> None:
    binary = "diff --git a/x.png b/x.png\nindex 1111111..2222222 100644\nBinary files differ\n"
    assert patch_id(binary) != patch_id(binary.replace("2222222", "3333333"))
    assert patch_id(_ONE + binary) != patch_id(_ONE)


def test_a_renamed_file_counts(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        command = ["git", *identity, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init", "--quiet")
    (tmp_path / "a").write_text("text\n" * 9)
    git("add", "--all")
    git("commit", "--quiet", "-m", "a")
    git("mv", "a", "b")
    renamed = git("diff", "--cached", "-M")
    git("mv", "b", "c")
    assert patch_id(renamed) != patch_id(git("diff", "--cached", "-M"))
