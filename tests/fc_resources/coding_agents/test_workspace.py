"""The workspace on the host, without an agent: what it hands out, takes back and notices."""

import base64
import os
from pathlib import Path

import pytest

from fc_resources.coding_agents import untrusted
from fc_resources.coding_agents.redaction import Redaction, in_addresses
from fc_resources.coding_agents.workspace import SCRIPT_BYTES, Workspace

FILES = {"TASK.md": "Build it.\n", "logs/1/build.txt": "error\n"}
SCRIPTS = {"a.sh": "true\n", "b.sh": "false\n"}


def workspace(place: Path) -> Workspace:
    return Workspace(place / "session", FILES, SCRIPTS, "client", lambda text: "sk-1" not in text)


def test_what_is_given_is_there_and_is_removed(tmp_path: Path) -> None:
    with workspace(tmp_path) as found:
        assert (found.folder / "logs/1/build.txt").read_text() == "error\n"
        assert os.access(found.folder / "verify", os.X_OK)
        assert os.access(found.folder / "scripts" / "a.sh", os.X_OK)
        assert found.scripts() == SCRIPTS
        assert found.tampered() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "is_script"),
    [("../out", False), ("/etc/out", False), ("verify", False), ("a/b.sh", True), ("..", True)],
)
def test_names_stay_inside(tmp_path: Path, name: str, is_script: bool) -> None:
    files, scripts = ({}, {name: "x"}) if is_script else ({name: "x"}, {})
    with pytest.raises(ValueError, match="cannot be a"):
        Workspace(tmp_path, files, scripts, "client", bool)


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for place, text in ((tmp_path / "session", "\ud800"), (tmp_path / "other", "x")):
        with (
            pytest.raises((UnicodeEncodeError, FileExistsError)),
            Workspace(place, {"TASK.md": text}, {}, "client", bool),
        ):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_every_change_but_of_scripts_is_noticed(tmp_path: Path) -> None:
    with workspace(tmp_path) as found:
        (found.folder / "scripts" / "new.sh").write_text("x")
        assert found.tampered() == []
        (found.folder / "verify").write_text("exit 0")
        (found.folder / "logs" / "new").mkdir()
        (found.folder / "link").symlink_to("/etc")
        (found.folder / "logs/1/build.txt").unlink()
        assert sorted(found.tampered()) == ["link", "logs/1/build.txt", "logs/new", "verify"]
        task = found.folder / "TASK.md"
        task.rename(tmp_path / "same")
        task.symlink_to(tmp_path / "same")
        assert "TASK.md" in found.tampered()
        # The folder of the scripts is what was opened, not what is there under its name.
        (found.folder / "scripts").rename(tmp_path / "elsewhere")
        (found.folder / "scripts").symlink_to("/etc")
        assert found.scripts() == SCRIPTS


def test_scripts_that_cannot_be_taken(tmp_path: Path) -> None:
    with workspace(tmp_path) as found:
        script = found.folder / "scripts" / "a.sh"
        for content in (b"\xff", b"a\0", b"x" * (SCRIPT_BYTES + 1), b"export KEY=sk-1"):
            script.write_bytes(content)
            assert found.scripts() == SCRIPTS
        script.write_text("y" * SCRIPT_BYTES)
        assert found.scripts()["a.sh"] == "y" * SCRIPT_BYTES
        script.unlink()
        os.mkfifo(script)
        assert found.scripts() == SCRIPTS


def test_links_out_of_a_home_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "user" / "sessions").mkdir(parents=True)
    (tmp_path / "user" / "sessions" / "rollout-1.jsonl").write_text("private")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".codex").symlink_to(tmp_path / "user")
    with untrusted.folder(home, ".codex", "sessions") as folder:
        assert folder is None
    (home / ".codex").unlink()
    (home / ".codex" / "sessions" / "2026").mkdir(parents=True)
    inner = home / ".codex" / "sessions" / "2026"
    (inner / "rollout-1.jsonl").symlink_to(tmp_path / "user" / "sessions" / "rollout-1.jsonl")
    (inner / "rollout-2.jsonl").write_text("one\ntwo")
    (inner / "away").symlink_to(tmp_path / "user")
    with untrusted.folder(home, ".codex") as folder:
        assert folder is not None
    assert list(untrusted.below(home, [".codex"], "rollout-", ".json", 3)) == []
    with untrusted.folder(home, ".codex", "sessions") as folder:
        assert folder is not None
    assert list(untrusted.below(home, [".codex", "sessions"], "rollout-", ".jsonl", 3)) == [
        ("./2026/rollout-2.jsonl", b"two")
    ]


def test_what_cannot_be_looked_at_takes_too_much(tmp_path: Path) -> None:
    with workspace(tmp_path) as found:
        assert not found.takes_more_than(1 << 20)
        here = os.open(found.place / "home", os.O_RDONLY)
        for _ in range(25):
            os.mkdir("d" * 200, dir_fd=here)
            inner = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(here)
        assert found.takes_more_than(1 << 20)


@pytest.mark.parametrize("before", ["", "a", "ab", "KEY="])
@pytest.mark.parametrize("after", ["", "z", "\n", "\xff"])
def test_secrets_in_base64_are_secrets(before: str, after: str) -> None:
    secret = "sk-0123456789~?>abcdef"
    hidden = Redaction([secret])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode((before + secret + after).encode()).decode()
        assert not hidden.is_clean(f"echo {text} | base64 -d")
        assert "***" in hidden.of(text)
    assert hidden.is_clean(base64.b64encode(b"sk-9876543210 and more words").decode())


def test_passwords_in_addresses_are_secrets() -> None:
    addresses = [
        "http://me:p%40ssw0rd-1@proxy:3128",
        "other:pass@host",
        "http://tok-123456@h",
        "git@h",
        "",
    ]
    hidden = Redaction(in_addresses([*addresses, "https://api.example.com/v1/a@b"]))
    for secret in ("p%40ssw0rd-1", "p@ssw0rd-1", "other:pass@", "tok-123456"):
        assert not hidden.is_clean(f"x {secret} y"), secret
    for plain in ("pass", "me", "other", "api.example.com", "proxy:3128", "git@github.com", ""):
        assert hidden.is_clean(plain), plain


def test_secrets_are_hidden_whole() -> None:
    hidden = Redaction(["abcdefghij-0123456789", "sk-1", ""])
    assert not hidden.is_clean("x abcdefghij-0123456789")
    text = "\x1b[31msk-1\x1b[0m abcdefghij-0123456789\x07\tBearer\r\nsk\x00-1"
    assert hidden.of(text) == "*** ***\tBearer\n***"
