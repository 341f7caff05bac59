"""Git mirrors of real repositories in a folder: fetching, reading, refusing, and hostile content.

What a diff means for a pull request is tested with `fc_assets.pull_requests`.
"""

import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from fc_resources.errors import PermanentError, TransientError, UnavailableError, UsageError
from fc_resources.git import FileChange, Mirrors, check_repository

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


_WHO = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL")


class Repository:
    """A repository with a working tree to commit in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "uploadpack.allowFilter", "true")
        self.git("config", "uploadpack.allowAnySHA1InWant", "true")
        self._clock = 1_767_225_600  # 2026-01-01, a commit a day

    def git(self, *arguments: str) -> str:
        now = f"{getattr(self, '_clock', 0)} +0000"
        env = {
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_GLOBAL": "/dev/null",
            **{f"GIT_{who}": "a@b" for who in _WHO},
            "GIT_AUTHOR_DATE": now,
            "GIT_COMMITTER_DATE": now,
        }
        done = subprocess.run(
            ["git", "-C", self.path, *arguments], env=env, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    def commit(self, **files: bytes | None) -> str:
        """Commit files (None deletes; `__` in a name is a dot) a day later; its hash."""
        self._clock += 86_400
        for name, content in files.items():
            file = self.path / name.replace("__", ".")
            if content is None:
                file.unlink()
            else:
                file.write_bytes(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "m")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "hub" / "own" / "repo.git")


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's configuration that sends GitHub's addresses to the folder `hub`."""
    file = tmp_path / "gitconfig"
    file.write_text(f'[url "file://{tmp_path}/hub/"]\n\tinsteadOf = https://github.com/\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(file))
    return file


@pytest.fixture
def mirrors(tmp_path: Path) -> Mirrors:
    return Mirrors(tmp_path / "mirrors", timeout_s=60)


# Fetching.


def test_a_clone_is_bare_and_has_no_file_contents(
    origin: Repository, mirrors: Mirrors, tmp_path: Path
) -> None:
    sha = origin.commit(a=b"content\n")
    mirror = mirrors.mirror("own", "repo", [sha])
    objects = ["git", "-C", mirror.path, "cat-file", "--batch-all-objects", "--batch-check"]
    kinds = subprocess.run(objects, capture_output=True, text=True, check=True).stdout
    assert "blob" not in kinds
    assert mirror.read(sha, "a") == "content\n"
    assert mirror.read(sha, "b") is None
    assert sorted(p.name for p in (tmp_path / "mirrors" / "own").iterdir()) == [
        "repo.git",
        "repo.lock",
    ]


def test_a_new_commit_is_fetched_by_the_next_process(
    origin: Repository, mirrors: Mirrors, tmp_path: Path
) -> None:
    first = origin.commit(a=b"1")
    mirrors.mirror("own", "repo", [first])
    second = origin.commit(a=b"2")
    mirror = Mirrors(tmp_path / "mirrors").mirror("own", "repo", [first, second])
    assert mirror.has(second)
    assert mirror.read(second, "a") == "2"


def test_origin_is_asked_once_a_process(
    origin: Repository, mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _spy_on_git(tmp_path, monkeypatch)
    origin.commit(a=b"1")
    for _ in range(3):
        assert not mirrors.mirror("own", "repo", ["0" * 40]).has("0" * 40)
    assert [c for c in calls() if " clone " in c or " fetch --prune" in c] == calls("clone")
    assert len(calls("clone")) == 1


def test_a_known_commit_needs_no_origin(origin: Repository, mirrors: Mirrors) -> None:
    sha = origin.commit(a=b"1")
    mirrors.mirror("own", "repo", [sha])
    shutil.rmtree(origin.path)
    assert mirrors.mirror("own", "repo", [sha]).commit_time(sha) == 1_767_225_600 + 86_400


def test_an_origin_that_cannot_be_reached_is_unavailable(mirrors: Mirrors, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(UnavailableError, match="could not reach own/missing"):
            mirrors.mirror("own", "missing", ["0" * 40])
    assert not (tmp_path / "mirrors" / "own" / "missing.git").exists()


def test_contents_that_origin_can_no_longer_give_are_transient(
    origin: Repository, mirrors: Mirrors
) -> None:
    base, head = origin.commit(a=b"1"), origin.commit(a=b"2")
    mirror = mirrors.mirror("own", "repo", [head])
    shutil.rmtree(origin.path)
    with pytest.raises(TransientError):
        mirror.diff(base, head)
    with pytest.raises(UnavailableError):
        mirror.read(head, "a")


def test_a_missing_commit_is_permanent(origin: Repository, mirrors: Mirrors) -> None:
    sha = origin.commit(a=b"1")
    mirror = mirrors.mirror("own", "repo", [sha])
    for call in (
        lambda: mirror.first_parent("0" * 40),
        lambda: mirror.first_parent(sha),
        lambda: mirror.diff("0" * 40, sha),
        lambda: mirror.diff("main", sha),
        lambda: mirror.diff("--output=/tmp/x", sha),
        lambda: mirror.files("0" * 40),
    ):
        with pytest.raises(PermanentError):
            call()


def test_a_local_repository_takes_the_place_of_github(tmp_path: Path, mirrors: Mirrors) -> None:
    sha = Repository(tmp_path / "offline" / "git" / "own" / "repo.git").commit(a=b"1")
    assert mirrors.with_local(tmp_path / "offline" / "git").mirror("own", "repo", [sha]).has(sha)


def test_a_local_repository_may_move(tmp_path: Path, mirrors: Mirrors) -> None:
    local = Repository(tmp_path / "before" / "own" / "repo.git")
    mirrors.with_local(tmp_path / "before").mirror("own", "repo", [local.commit(a=b"1")])
    local.path = Path(shutil.move(tmp_path / "before", tmp_path / "after")) / "own" / "repo.git"
    sha = local.commit(a=b"2")
    assert mirrors.with_local(tmp_path / "after").mirror("own", "repo", [sha]).has(sha)


def test_what_a_killed_clone_left_is_no_mirror(
    origin: Repository, mirrors: Mirrors, tmp_path: Path
) -> None:
    sha = origin.commit(a=b"1")
    part = tmp_path / "mirrors" / "own" / "repo.part"
    part.mkdir(parents=True)
    (part / "HEAD").write_text("ref: refs/heads/main\n")
    assert mirrors.mirror("own", "repo", [sha]).has(sha)
    assert not part.exists()


def test_a_killed_fetch_does_not_stop_the_next(
    origin: Repository, mirrors: Mirrors, tmp_path: Path
) -> None:
    mirror = mirrors.mirror("own", "repo", [origin.commit(a=b"1")])
    sha = origin.commit(a=b"2")
    origin.git("tag", "v1")
    for left in ("packed-refs.lock", "refs/heads/main.lock", "refs/tags/v1.lock", "config.lock"):
        (mirror.path / left).parent.mkdir(exist_ok=True)
        (mirror.path / left).touch()
    assert Mirrors(tmp_path / "mirrors").mirror("own", "repo", [sha]).tags(sha) == [("v1", sha)]


def _mirror(root: Path, sha: str, path: str) -> None:
    assert Mirrors(root).mirror("own", "repo", [sha]).read(sha, path) == "1"


def test_two_processes_may_clone_at_once(origin: Repository, tmp_path: Path) -> None:
    sha = origin.commit(a=b"1")
    arguments = (tmp_path / "mirrors", sha, "a")
    children = [_PROCESSES.Process(target=_mirror, args=arguments) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 4


def test_a_process_killed_while_cloning_leaves_no_mirror(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = origin.commit(a=b"1")
    body = 'mkdir -p "${@: -1}"; echo $$ > "$FLAG.part"; mv "$FLAG.part" "$FLAG"; exec sleep 600'
    flag = _fake_git(tmp_path, body, monkeypatch)
    child = _PROCESSES.Process(
        target=_clone_with, args=(os.environ["PATH"], tmp_path / "mirrors", sha)
    )
    child.start()
    deadline = time.monotonic() + 60
    while not flag.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join(60)
    os.kill(int(flag.read_text()), signal.SIGKILL)
    assert (tmp_path / "mirrors" / "own" / "repo.part").is_dir()
    assert not (tmp_path / "mirrors" / "own" / "repo.git").exists()


def _clone_with(path: str, root: Path, sha: str) -> None:
    os.environ["PATH"] = path
    Mirrors(root).mirror("own", "repo", [sha])


# What git is given and what is refused.


def _fake_git(tmp_path: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `git` on PATH that runs `body`; `$GIT` is the real one, `$FLAG` a file."""
    folder, real = tmp_path / "bin", shutil.which("git")
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/bash\nGIT={real}\nFLAG={tmp_path}/flag\n{body}\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path / "flag"


def _spy_on_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    log = _fake_git(tmp_path, 'echo " $*" >> "$FLAG"; exec "$GIT" "$@"', monkeypatch)
    return lambda word="": [line for line in log.read_text().splitlines() if word in line]


def test_git_sees_no_token(
    mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GH_TOKENS", "ANTHROPIC_API_KEY", "HF_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, "very-secret")
    seen = _fake_git(tmp_path, 'env > "$FLAG"; exit 1', monkeypatch)
    with pytest.raises(UnavailableError):
        mirrors.mirror("own", "repo", ["0" * 40])
    assert "very-secret" not in seen.read_text()
    assert "GIT_TERMINAL_PROMPT=0" in seen.read_text()


def test_an_error_shows_no_credentials(
    mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "fatal: unable to access 'https://me:ghp_secret@host/own/repo/': refused"
    _fake_git(tmp_path, f'echo "{said}" >&2; exit 128', monkeypatch)
    with pytest.raises(UnavailableError) as caught:
        mirrors.mirror("own", "repo", ["0" * 40])
    assert "ghp_secret" not in str(caught.value)
    assert "host/own/repo" in str(caught.value)


@pytest.mark.parametrize("url", ["ext::touch pwned ", "http://127.0.0.1:1/", "git://127.0.0.1:1/"])
def test_other_protocols_are_refused(
    mirrors: Mirrors, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    config.write_text(f'[url "{url}"]\n\tinsteadOf = https://github.com/\n')
    with pytest.raises(UnavailableError, match="not allowed"):
        mirrors.mirror("own", "repo", ["0" * 40])
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("owner", "repo"),
    [
        ("..", "repo"),
        ("own", ".."),
        ("own", "a..b"),
        ("own", "."),
        ("own", "--upload-pack=touch x"),
        ("-x", "repo"),
        ("own", "a b"),
        ("own", "a/b"),
        ("own", "a\nb"),
        ("own", ""),
        ("ext::sh", "repo"),
        ("own", "a" * 101),
    ],
)
def test_what_is_no_name_is_refused_on_one_line(mirrors: Mirrors, owner: str, repo: str) -> None:
    with pytest.raises(UsageError) as caught:
        mirrors.mirror(owner, repo, [])
    assert "\n" not in str(caught.value)


def test_real_names_are_accepted() -> None:
    for name in ("numpy/numpy", "scikit-learn/scikit-learn", "a/.github", "a/x.git", "1/_"):
        check_repository(*name.split("/"))


def test_hooks_of_a_mirror_never_run(origin: Repository, mirrors: Mirrors, tmp_path: Path) -> None:
    mirror = mirrors.mirror("own", "repo", [origin.commit(a=b"1")])
    hooks = mirror.path / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("reference-transaction", "post-checkout", "post-merge", "pre-auto-gc"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/pwned\n")
        (hooks / name).chmod(0o755)
    sha = origin.commit(a=b"2")
    assert Mirrors(tmp_path / "mirrors").mirror("own", "repo", [sha]).has(sha)
    assert not (tmp_path / "pwned").exists()


# Reading.


def test_the_base_of_a_merge_is_its_first_parent(origin: Repository, mirrors: Mirrors) -> None:
    origin.commit(a=b"1")
    origin.git("checkout", "--quiet", "-b", "topic")
    origin.commit(b=b"fix")
    origin.git("checkout", "--quiet", "main")
    tip = origin.commit(c=b"2")
    origin.git("merge", "--quiet", "--no-ff", "--message", "merge", "topic")
    merge = origin.git("rev-parse", "HEAD")
    mirror = mirrors.mirror("own", "repo", [merge])
    assert mirror.first_parent(merge) == tip
    assert mirror.changes(tip, merge) == [FileChange("b", 1, 0)]


def test_a_diff_can_be_applied(origin: Repository, mirrors: Mirrors, tmp_path: Path) -> None:
    before = {"old": b"same\n" * 20, "bin": b"\0\1\2", "text": b"a\nb\n", "gone": b"x"}
    base = origin.commit(**before)
    after = {"old": None, "new": b"same\n" * 20, "bin": b"\0\3", "text": b"a\nc\n", "gone": None}
    head = origin.commit(**after)
    patch = mirrors.mirror("own", "repo", [head]).diff(base, head)
    assert "rename" not in patch
    (tmp_path / "patch").write_text(patch)
    origin.git("checkout", "--quiet", base)
    origin.git("apply", "--index", str(tmp_path / "patch"))
    assert origin.git("write-tree") == origin.git("rev-parse", f"{head}^{{tree}}")


def test_a_users_taste_does_not_change_a_diff(
    origin: Repository, mirrors: Mirrors, config: Path, tmp_path: Path
) -> None:
    base = origin.commit(a__py=b"".join(b"line %d\n" % n for n in range(30)))
    head = origin.commit(a__py=b"".join(b"line %d\n" % (n * (n != 15)) for n in range(30)))
    plain = mirrors.mirror("own", "repo", [head]).diff(base, head)
    with config.open("a") as file:
        file.write(
            "[diff]\nnoprefix = true\ncontext = 9\nalgorithm = patience\nexternal = false\n"
            "mnemonicPrefix = true\nrenames = copies\n[core]\nabbrev = 30\nquotePath = false\n"
            f"attributesFile = {tmp_path}/attributes\n[color]\nui = always\n"
        )
    (tmp_path / "attributes").write_text("*.py -diff\n")
    mirror = mirrors.mirror("own", "repo", [head])
    assert mirror.diff(base, head) == plain
    assert mirror.changes(base, head) == [FileChange("a.py", 1, 1)]


def test_bytes_that_are_no_text_do_not_break_a_diff(origin: Repository, mirrors: Mirrors) -> None:
    base = origin.commit(latin=b"caf\xe9\n", nul=b"x\n" * 9000 + b"\n")
    head = origin.commit(latin=b"th\xe9\n", nul=b"x\n" * 9000 + b"\0\n")
    patch = mirrors.mirror("own", "repo", [head]).diff(base, head)
    assert "+th\ufffd" in patch
    assert "\0" not in patch
    patch.encode()


def test_line_counts_are_none_for_a_binary_file(origin: Repository, mirrors: Mirrors) -> None:
    base = origin.commit(a=b"1\n")
    head = origin.commit(**{"a": b"2\n3\n", "b": b"\0", "tab\tname": b"x\n"})
    found = mirrors.mirror("own", "repo", [head]).changes(base, head)
    assert found == [
        FileChange("a", 2, 1),
        FileChange("b", None, None),
        FileChange("tab\tname", 1, 0),
    ]


def test_files_are_read_as_of_a_commit(origin: Repository, mirrors: Mirrors) -> None:
    first = origin.commit(a=b"\xef\xbb\xbfone", b=b"\xff")
    second = origin.commit(a=None)
    mirror = mirrors.mirror("own", "repo", [second])
    assert (mirror.files(first), mirror.files(second)) == (["a", "b"], ["b"])
    assert (mirror.read(first, "a"), mirror.read(second, "a")) == ("one", None)
    assert mirror.read(first, "b") == "\ufffd"


def test_nothing_later_than_a_commit_is_told(
    origin: Repository, mirrors: Mirrors, tmp_path: Path
) -> None:
    first = origin.commit(a=b"1")
    origin.git("tag", "v1")
    second = origin.commit(a=b"2")
    origin.git("tag", "-a", "-m", "annotated", "v2")
    third = origin.commit(a=b"3")
    origin.git("tag", "v3")
    mirror = mirrors.mirror("own", "repo", [third])
    assert mirror.tags(second) == [("v1", first), ("v2", second)]
    assert mirror.last_commit_before(third, "2026-01-03T12:00:00+00:00") == second
    assert mirror.last_commit_before(second, "2027-01-01T00:00:00+00:00") == second
    assert mirror.last_commit_before(third, "2025-01-01T00:00:00+00:00") is None

    older, newer = mirror.pack(first, None), mirror.pack(second, first)
    unpacked = Repository(tmp_path / "unpacked")
    for pack in (older, newer):
        command = ["git", "-C", unpacked.path, "unpack-objects", "-q"]
        subprocess.run(command, input=pack, check=True)
    unpacked.git("checkout", "--quiet", second)
    assert (unpacked.path / "a").read_bytes() == b"2"
    assert not unpacked.git("fsck", "--full", "--no-dangling")
    known = unpacked.git("cat-file", "--batch-all-objects", "--batch-check")
    assert known.count(" commit ") == 2
    assert third not in known
