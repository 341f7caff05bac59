"""People go, code stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc_assets.candidate_prs.anonymize import People, anonymize
from tests.fc_assets.candidate_prs.test_markdown import PIECES


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Thanks @ana, @bob-c and @Ana.", "Thanks @user_1, @user_2 and @user_1."),
        ("(@ana) @ana's **@bob**: hi", "(@user_1) @user_1's **@user_2**: hi"),
        ("bob@example.com, b.o+b@mail.example.co.uk.", "user@example.org, user@example.org."),
        (
            "Signed-off-by: Ana Duarte <ana@x.org>\nco-authored-by: bob",
            "Signed-off-by: user <user@example.org>\nco-authored-by: user <user@example.org>",
        ),
        ("Author: Ana M. Duarte <ana@x.org>", "Author: user <user@example.org>"),
        ("/home/bob/data and /home/bob.", "/home/user/data and /home/user."),
        ("/Users/bob.c/x, /Users/bob", "/Users/user/x, /Users/user"),
        (r"C:\Users\Jane Doe\x, D:\\Users\\bob", r"C:\Users\user\x, D:\\Users\\user"),
        ("c:/Users/bob/x", "c:/Users/user/x"),
        ("https://example.org/home/page", "https://example.org/home/page"),
        ("see https://github.com/ana.", "see https://github.com/user_1."),
        ("https://github.com/o/r/issues/3", "https://github.com/o/r/issues/3"),
        ("github.com/ana and www.github.com/bob/", "github.com/user_1 and www.github.com/user_2/"),
        ("https://gist.github.com/ana/0a1b", "https://gist.github.com/user_1/0a1b"),
        ("On Thu, 6 Jan 2022 Ana Duarte ***@***.***> wrote:\n> hi", "user wrote:\n> hi"),
        ("> On 6 Jan, Ana Duarte <\nana@x.org> wrote:\n> hi", "> user wrote:\n> hi"),
        (
            "```\n(base) ana@laptop:~/src$ python x.py\n```",
            "```\n(base) user@host:~/src$ python x.py\n```",
        ),
        ("```\n[ana@node7 src]$ ls\n```", "```\n[user@host src]$ ls\n```"),
        ("1. ```\n   @x\n   ```\n\nThanks @ana", "1. ```\n   @x\n   ```\n\nThanks @user_1"),
        ("/mnt/home/ana/x", "/mnt/home/user/x"),
        ("```\nopen('/home/bob/x')\n```", "```\nopen('/home/user/x')\n```"),
        (
            "```\nCo-authored-by: Ana <a@x.org>\n```",
            "```\nCo-authored-by: user <user@example.org>\n```",
        ),
    ],
)
def test_people_are_masked(text: str, masked: str) -> None:
    assert anonymize(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "Use @property, or @staticmethod, for it.",
        "```python\n@cached\ndef x(self): return a @ b\n```",
        "As in\n\n    @cached\n    def x(self): return a@b\n\n",
        "@cached\n@other.one(1)\ndef x():\n    pass\n",
        "    @cached\n    async def x(): ...\n",
        "`@cached`, ``@a ` @b``, @lru_cache(None), @functools.cache, @nb.njit",
        "npm i @scope/pkg @scope/pkg@1.2.3, lodash@4.17.21, numpy@1.26",
        "a @ b, A@B.T, `w@x.values`, `w@x.sum()`, w@x.dot(y)",
        "decorate it with @guvectorize or @delayed or @cuda or @singledispatch",
        "`open('src/home/view.py')` and tests/home/view.py",
        "- run\n\n    y = x@self.weight\n    z = x@w.transpose\n",
        "git@github.com:o/r.git and pkg@git+https://github.com/o/r",
        "@org/team and \\@escaped",
        "```yaml\nsort-by: name\n```",
    ],
)
def test_code_is_left_alone(text: str) -> None:
    assert anonymize(text) == text


def test_a_person_is_the_same_in_all_texts() -> None:
    people = People()
    assert people.name("Ana") == "user_1"
    assert people.mask("@bob and @ana") == "@user_2 and @user_1"
    assert people.name(None) is None


_PARTS = st.lists(
    st.sampled_from(
        [
            *(
                "@ana",
                "@Bob-c",
                "a@b.org",
                "<a@b.org>",
                "Ana Duarte ",
                "Signed-off-by: ",
                " ",
                "\n",
            ),
            *("/home/", "/Users/", "C:\\Users\\", "bob", "\\", "/", ".", "-", "`", "```\n", "    "),
            *("https://github.com/", "@property", "def x():", "@", "user", "_1", "x", "\n\n", ">"),
        ]
    ),
    max_size=25,
).map("".join)


@given(_PARTS | PIECES | st.text())
def test_masking_again_changes_nothing(text: str) -> None:
    people = People()
    once = people.mask(text)
    assert people.mask(once) == once


@given(st.text(alphabet="@abcXY_ =()\n.:,#", max_size=200))
def test_code_blocks_without_addresses_are_untouched(text: str) -> None:
    block = f"```python\n{text}\n```\n"
    assert anonymize(block) == block
