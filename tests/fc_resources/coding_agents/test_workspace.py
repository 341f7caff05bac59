"""The workspace on the host, without an agent: what it hands out, takes back and notices."""

import os
from pathlib import Path

import pytest

from fc_resources.coding_agents import untrusted
from fc_resources.coding_agents.redaction import Redaction, in_login
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
    with untrusted.folder(home, ".codex", "sessions") as folder:
        assert folder is not None
        assert list(untrusted.below(folder, "rollout-", ".jsonl", 3)) == [b"two"]


def test_secrets_are_hidden_whole(tmp_path: Path) -> None:
    login = tmp_path / "auth.json"
    login.write_text('{"tokens": {"access": "abcdefghij-0123456789"}, "kind": "Bearer", "n": [1]}')
    hidden = Redaction([*in_login(login), "sk-1", ""])
    assert not hidden.is_clean("x abcdefghij-0123456789")
    assert hidden.is_clean("Bearer")
    text = "\x1b[31msk-1\x1b[0m abcdefghij-0123456789\x07\tBearer\r\nsk\x00-1"
    assert hidden.of(text) == "*** ***\tBearer\n***"
