"""Git mirrors of real repositories in a folder: fetching, diffs, reading, limits, hostile content.

What a diff means for a pull request is tested with `fc_assets.pull_requests`.
"""

import io
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fc_resources import git_files, git_origin
from fc_resources.errors import PermanentError, TransientError, UnavailableError, UsageError
from fc_resources.git import Mirror, Mirrors, check_repository
from fc_resources.git_diffs import Diff, DiffTooLargeError, FileChange
from fc_resources.git_objects import CommitGoneError

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
    assert not mirror.lacking([second])
    assert mirror.read(second, "a") == "2"


def test_origin_is_asked_once_a_process(
    origin: Repository, mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _spy_on_git(tmp_path, monkeypatch)
    origin.commit(a=b"1")
    for _ in range(3):
        assert mirrors.mirror("own", "repo", ["0" * 40]).lacking(["0" * 40])
    assert ["--stdin" in call for call in calls(" fetch ")] == [False, True]


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
    origin.commit(a=b"1")
    head = origin.commit(a=b"2")
    mirror = mirrors.mirror("own", "repo", [head])
    shutil.rmtree(origin.path)
    assert isinstance(mirror.diffs([head])[head], UnavailableError)
    with pytest.raises(UnavailableError):
        mirror.read(head, "a")


def test_a_missing_commit_is_permanent(origin: Repository, mirrors: Mirrors) -> None:
    sha = origin.commit(a=b"1")
    mirror = mirrors.mirror("own", "repo", [sha])
    for call in (
        lambda: mirror.first_parent("0" * 40),
        lambda: mirror.first_parent(sha),
        lambda: mirror.first_parent("main"),
        lambda: mirror.first_parent("--output=/tmp/x"),
        lambda: mirror.files("0" * 40),
    ):
        with pytest.raises(PermanentError):
            call()


def test_a_local_repository_takes_the_place_of_github(tmp_path: Path, mirrors: Mirrors) -> None:
    sha = Repository(tmp_path / "offline" / "git" / "own" / "repo.git").commit(a=b"1")
    mirror = mirrors.with_local(tmp_path / "offline" / "git").mirror("own", "repo", [sha])
    assert not mirror.lacking([sha])


def test_a_local_repository_may_move(tmp_path: Path, mirrors: Mirrors) -> None:
    local = Repository(tmp_path / "before" / "own" / "repo.git")
    mirrors.with_local(tmp_path / "before").mirror("own", "repo", [local.commit(a=b"1")])
    local.path = Path(shutil.move(tmp_path / "before", tmp_path / "after")) / "own" / "repo.git"
    sha = local.commit(a=b"2")
    assert not mirrors.with_local(tmp_path / "after").mirror("own", "repo", [sha]).lacking([sha])


def test_what_a_killed_clone_left_is_no_mirror(
    origin: Repository, mirrors: Mirrors, tmp_path: Path
) -> None:
    sha = origin.commit(a=b"1")
    part = tmp_path / "mirrors" / "own" / "repo.part"
    part.mkdir(parents=True)
    (part / "HEAD").write_text("ref: refs/heads/main\n")
    assert not mirrors.mirror("own", "repo", [sha]).lacking([sha])
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


def _mirror(root: Path, config: Path, sha: str, path: str) -> None:
    os.environ["GIT_CONFIG_GLOBAL"] = str(config)
    assert Mirrors(root).mirror("own", "repo", [sha]).read(sha, path) == "1"


def test_two_processes_may_clone_at_once(origin: Repository, config: Path, tmp_path: Path) -> None:
    sha = origin.commit(a=b"1")
    arguments = (tmp_path / "mirrors", config, sha, "a")
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


def _orphans(origin: Repository, count: int) -> list[str]:
    """Commits of a branch that was pushed over."""
    origin.git("checkout", "--quiet", "-b", "topic")
    commits = []
    for number in range(count):
        commits.append(origin.commit(topic=b"%d\n" % number))
        origin.git("reset", "--quiet", "--hard", "main")
    origin.git("checkout", "--quiet", "main")
    origin.git("branch", "--quiet", "-D", "topic")
    return commits


def test_a_commit_in_no_branch_is_asked_for_by_hash_once(
    origin: Repository, mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.commit(a=b"1")
    orphans, never = _orphans(origin, 2), [f"{n:040x}" for n in (1, 2)]
    calls = _spy_on_git(tmp_path, monkeypatch)
    wanted = [never[0], *orphans, never[1]]
    mirror = mirrors.mirror("own", "repo", wanted)
    for _ in range(2):
        mirrors.mirror("own", "repo", wanted)
        assert mirror.lacking(wanted) == never
        # Each refusal names one commit; the rest is asked for again.
        assert ["--stdin" in call for call in calls(" fetch ")] == [False, True, True, True]
    assert _diff(mirror, orphans[0]) == _alone(origin, orphans[0])
    assert isinstance(mirror.diffs(never)[never[0]], CommitGoneError)


def test_clearing_up_keeps_what_no_branch_has(origin: Repository, mirrors: Mirrors) -> None:
    origin.commit(a=b"1")
    commits = [*_orphans(origin, 2), origin.commit(a=b"2")]
    mirror = mirrors.mirror("own", "repo", commits)
    before = mirror.diffs(commits)
    subprocess.run(["git", "-C", mirror.path, "gc", "--quiet", "--prune=now"], check=True)
    shutil.rmtree(origin.path)
    assert mirror.diffs(commits) == before
    assert {type(diff) for diff in before.values()} == {Diff}


def test_commits_that_lack_later_do_not_ask_for_branches_again(
    origin: Repository, mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrors.mirror("own", "repo", [origin.commit(a=b"1")])
    later = origin.commit(a=b"2")
    calls = _spy_on_git(tmp_path, monkeypatch)
    assert not mirrors.mirror("own", "repo", [later]).lacking([later])
    assert [("--stdin" in call) for call in calls(" fetch ")] == [True]


def test_what_another_process_fetched_meanwhile_is_not_fetched_again(
    origin: Repository, mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = mirrors.mirror("own", "repo", [origin.commit(a=b"1")])
    sha = origin.commit(a=b"2")
    calls = _spy_on_git(tmp_path, monkeypatch)
    waiting = threading.Thread(
        target=lambda: Mirrors(tmp_path / "mirrors").mirror("own", "repo", [sha])
    )
    with mirror.locked():
        waiting.start()
        while waiting.is_alive() and not ((tmp_path / "flag").exists() and calls("cat-file")):
            time.sleep(0.01)
        time.sleep(0.1)
        fetched = [
            "git",
            "-C",
            mirror.path,
            "fetch",
            "--quiet",
            f"file://{origin.path}",
            "main:main",
        ]
        subprocess.run(fetched, check=True)
    waiting.join(60)
    assert len(calls(" fetch ")) == 1
    assert not mirror.lacking([sha])


def test_a_failure_is_remembered_for_five_minutes(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha, away = origin.commit(a=b"1"), origin.path.with_name("away")
    origin.path.rename(away)
    now = [0.0]
    mirrors = Mirrors(tmp_path / "mirrors", clock=lambda: now[0])
    calls = _spy_on_git(tmp_path, monkeypatch)
    with pytest.raises(UnavailableError, match="could not reach"):
        mirrors.mirror("own", "repo", [sha])
    away.rename(origin.path)
    now[0] = 299
    with pytest.raises(UnavailableError, match="could not reach"):
        mirrors.mirror("own", "repo", [sha])
    assert len(calls(" fetch ")) == 1
    now[0] = 300
    assert not mirrors.mirror("own", "repo", [sha]).lacking([sha])


def test_contents_come_from_the_repository_that_is_the_origin_at_the_time(
    origin: Repository, mirrors: Mirrors, tmp_path: Path
) -> None:
    sha = origin.commit(a=b"1")
    mirrors.mirror("own", "repo", [sha])
    shutil.copytree(origin.path, tmp_path / "offline" / "own" / "repo.git")
    shutil.rmtree(origin.path)
    with pytest.raises(UnavailableError):
        mirrors.mirror("own", "repo", [sha]).read(sha, "a")
    assert (
        mirrors.with_local(tmp_path / "offline").mirror("own", "repo", [sha]).read(sha, "a") == "1"
    )


# Limits.


def test_a_clone_above_the_limit_is_stopped_and_not_tried_again(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = random.Random(1)
    sha = origin.commit(**{noise.randbytes(100).hex(): b"" for _ in range(200)})
    now = [0.0]
    mirrors = Mirrors(tmp_path / "mirrors", max_bytes=10_000, clock=lambda: now[0])
    calls = _spy_on_git(tmp_path, monkeypatch)
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"more than 9.31e-06 GiB.*from own/repo$"):
            mirrors.mirror("own", "repo", [sha])
        now[0] += 10_000
    assert len(calls(" fetch ")) == 1
    assert [p.name for p in (tmp_path / "mirrors" / "own").iterdir()] == ["repo.lock"]


def test_a_fetch_above_the_limit_leaves_the_mirror_as_it_was(
    origin: Repository, tmp_path: Path
) -> None:
    noise = random.Random(1)
    first = origin.commit(a=b"1")
    Mirrors(tmp_path / "mirrors").mirror("own", "repo", [first])
    second = origin.commit(**{noise.randbytes(100).hex(): b"" for _ in range(200)})
    mirrors = Mirrors(tmp_path / "mirrors", max_bytes=10_000)
    with pytest.raises(UnavailableError, match="its limit"):
        mirrors.mirror("own", "repo", [second])
    mirror = mirrors.mirror("own", "repo", [first])
    assert mirror.read(first, "a") == "1"
    assert not [*mirror.path.glob("objects/pack/tmp_*")]


def test_nothing_is_fetched_onto_a_full_disk(origin: Repository, tmp_path: Path) -> None:
    origin.commit(a=b"1")
    sha = origin.commit(a=b"2")
    full = Mirrors(tmp_path / "mirrors", min_free_bytes=2**60)
    with pytest.raises(UnavailableError, match=r"GiB free below .*mirrors, 1.07e\+09 GiB are kept"):
        full.mirror("own", "repo", [sha])
    assert not [*(tmp_path / "mirrors").rglob("*.part")]
    Mirrors(tmp_path / "mirrors").mirror("own", "repo", [sha])
    error = full.mirror("own", "repo", [sha]).diffs([sha])[sha]
    assert isinstance(error, UnavailableError)
    assert "free below" in str(error)


def _age(root: Path, name: str, days: float) -> None:
    lock = root / f"{name}.lock"
    then = time.time() - days * 86_400
    os.utime(lock, (then, then))


def test_mirrors_nobody_asks_for_are_removed(
    origin: Repository, mirrors: Mirrors, tmp_path: Path
) -> None:
    root, sha = tmp_path / "mirrors", origin.commit(a=b"1")
    for name in ("old", "older", "asked"):
        shutil.copytree(origin.path, tmp_path / "hub" / "two" / f"{name}.git")
        mirrors.mirror("two", name, [sha])
        _age(root, f"two/{name}", 30)
    mirrors.mirror("own", "repo", [sha])
    _age(root, "own/repo", 30)
    mirrors.mirror("two", "asked", [sha])
    assert mirrors.prune(31) == []
    assert mirrors.prune(29) == ["own/repo", "two/old", "two/older"]
    assert sorted(str(p.relative_to(root)) for p in root.glob("[a-z]*/*")) == [
        "two/asked.git",
        "two/asked.lock",
    ]
    assert not (root / "own").exists()
    assert mirrors.mirror("own", "repo", [sha]).read(sha, "a") == "1"


def test_what_somebody_works_on_is_not_removed(
    origin: Repository, mirrors: Mirrors, tmp_path: Path
) -> None:
    mirror = mirrors.mirror("own", "repo", [origin.commit(a=b"1")])
    part = tmp_path / "mirrors" / "own" / "repo.part"
    part.mkdir()
    _age(tmp_path / "mirrors", "own/repo", 30)
    with mirror.locked():
        assert mirrors.prune(1) == []
        assert part.exists()
    assert mirrors.prune(1) == ["own/repo"]
    assert not part.exists()


def test_nothing_but_mirrors_is_removed(mirrors: Mirrors, tmp_path: Path) -> None:
    root, outside = tmp_path / "mirrors", tmp_path / "outside"
    (outside / "repo.git").mkdir(parents=True)
    (root / "own" / "notes").mkdir(parents=True)
    (root / "linked").symlink_to(outside)
    (root / "own" / "repo.git").symlink_to(outside / "repo.git")
    (root / "own" / "repo.part").symlink_to(outside)
    (root / "own" / "repo.lock").touch()
    _age(root, "own/repo", 30)
    assert mirrors.prune(1) == []
    assert (outside / "repo.git").is_dir()
    assert (root / "own" / "notes").is_dir()
    assert Mirrors(tmp_path / "nowhere").prune(0) == []


def test_a_lock_on_a_removed_file_is_no_lock(
    origin: Repository, mirrors: Mirrors, tmp_path: Path
) -> None:
    mirror = mirrors.mirror("own", "repo", [origin.commit(a=b"1")])
    lock, held, seen = tmp_path / "mirrors" / "own" / "repo.lock", threading.Event(), []

    def wait() -> None:
        held.set()
        with mirror.locked():
            seen.append(lock.exists())

    waiting = threading.Thread(target=wait)
    with mirror.locked():
        waiting.start()
        held.wait(60)
        time.sleep(0.1)
        lock.unlink()
    waiting.join(60)
    assert seen == [True]


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


def test_a_helper_program_is_refused_where_contents_are_fetched_too(
    origin: Repository, mirrors: Mirrors, config: Path, tmp_path: Path
) -> None:
    origin.commit(a=b"1")
    sha = origin.commit(a=b"2")
    mirrors.mirror("own", "repo", [sha])
    config.write_text(
        f'[url "ext::touch {tmp_path}/pwned "]\n\tinsteadOf = https://github.com/\n'
        '[protocol "ext"]\n\tallow = always\n[protocol]\n\tallow = always\n'
    )
    mirror = mirrors.mirror("own", "repo", [sha])
    error = mirror.diffs([sha])[sha]
    assert isinstance(error, UnavailableError)
    assert "not allowed" in str(error)
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
    assert not Mirrors(tmp_path / "mirrors").mirror("own", "repo", [sha]).lacking([sha])
    assert not (tmp_path / "pwned").exists()


# Diffs.


def _diff(mirror: Mirror, sha: str) -> Diff:
    found = mirror.diffs([sha])[sha]
    assert isinstance(found, Diff), found
    return found


def _alone(origin: Repository, sha: str) -> Diff:
    """The diff as one `diff-tree` for the patch and one for the summary give it."""
    command = ["git", "-C", origin.path, "diff-tree", "-r", "--no-renames"]
    options = ["-p", "--binary", "--full-index"]
    base = origin.git("rev-parse", f"{sha}^1")
    patch, summary = (
        subprocess.run([*command, *more, base, sha], capture_output=True, check=True).stdout
        for more in (options, ["--numstat", "-z"])
    )
    files = []
    for row in summary.decode("utf-8", "replace").split("\0")[:-1]:
        added, deleted, path = row.split("\t", 2)
        files.append(FileChange(path, *(None if n == "-" else int(n) for n in (added, deleted))))
    text = patch.decode("utf-8", "replace").replace("\0", "\ufffd")
    return Diff(base, tuple(files), text)


def _given(path: Path, text: str, *arguments: str) -> str:
    """What a git makes of text."""
    command = ["git", "-C", path, *arguments]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=True)
    return done.stdout.decode().strip()


def _objects(mirror: Mirror, kind: str) -> int:
    command = ["git", "-C", mirror.path, "cat-file", "--batch-all-objects", "--batch-check"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return listing.count(f" {kind} ")


def _awkward(origin: Repository) -> list[str]:
    """Commits with contents and names that could be taken for something else; all but the root."""
    origin.commit(
        text=b"a\nb\n",
        crlf=b"a\r\nb\r\n",
        binary=b"\0\1",
        open=b"no newline",
        mode=b"x\n",
        turns=b"x",
    )
    (origin.path / "turns").unlink()
    (origin.path / "turns").symlink_to("text")
    (origin.path / "mode").chmod(0o755)
    (origin.path / "a folder").mkdir()
    forged = b"=%032x\n" % 1
    commits = [
        origin.commit(text=b"a\nc\n", crlf=b"a\r\nc\n", binary=b"\0\2", open=b"still none"),
        origin.commit(
            **{"new\nline": b"1\n", 'q"uote\\': b"2\n", "caf\u00e9": b"3\n", "t\tb": b"4"}
        ),
        origin.commit(**{"new\nline": None, "a folder/x y": b"\xff\n" + forged, "=": forged}),
        origin.commit(),
        origin.commit(**{forged.decode().strip() + "\n=": forged + b"\0\0" + forged}),
        origin.commit(text=None, latin=b"\xe9\n" * 3, nul=b"x\n" * 9000 + b"\0\n"),
        origin.commit(empty=b"", mode=b"y\n"),
    ]
    (origin.path / os.fsdecode(b"not-\xff-utf8")).write_bytes(b"1\n")
    commits.append(origin.commit(empty=None))
    for number in (1, 2):
        link = f"160000,{number:040x},sub"
        origin.git("update-index", "--add", "--cacheinfo", link)
        origin.git("commit", "--quiet", "--message", "a submodule")
        commits.append(origin.git("rev-parse", "HEAD"))
    return commits


def test_diffs_of_a_batch_are_those_of_one_commit_at_a_time(
    origin: Repository, mirrors: Mirrors
) -> None:
    commits = _awkward(origin)
    found = mirrors.mirror("own", "repo", commits).diffs(commits)
    assert list(found) == commits
    for sha in commits:
        assert found[sha] == _alone(origin, sha)
    assert found[commits[3]] == Diff(commits[2], (), "")


def test_a_batch_takes_the_same_few_processes_whatever_its_size(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = [origin.commit(a=b"%d\n" % n) for n in range(20)][1:]
    calls = _spy_on_git(tmp_path, monkeypatch)
    made = []
    for number, batch in enumerate((commits[:1], commits)):
        mirror = Mirrors(tmp_path / f"mirrors-{number}").mirror("own", "repo", commits)
        before = len(calls())
        assert all(isinstance(diff, Diff) for diff in mirror.diffs(batch).values())
        made.append(len(calls()) - before)
        # The contents that lack come in one pack, next to the clone's.
        assert len([*mirror.path.glob("objects/pack/*.pack")]) == 2
    assert made[0] == made[1]
    assert len(calls(" --filter=blob:none --stdin ")) == 2


def test_contents_that_are_here_are_not_fetched_again(origin: Repository, mirrors: Mirrors) -> None:
    commits = _awkward(origin)
    mirror = mirrors.mirror("own", "repo", commits)
    before = mirror.diffs(commits)
    shutil.rmtree(origin.path)
    assert mirror.diffs(commits) == before


def test_a_commit_that_is_not_here_or_has_no_parent_is_gone(
    origin: Repository, mirrors: Mirrors
) -> None:
    root, sha = origin.commit(a=b"1"), origin.commit(a=b"2")
    origin.git("tag", "-a", "-m", "annotated", "v1")
    tag, tree, missing = origin.git("rev-parse", "v1"), origin.git("rev-parse", "v1:"), "0" * 40
    asked = [missing, root, sha, tag, tree, sha, "main", "--output=/tmp/x"]
    found = mirrors.mirror("own", "repo", [sha]).diffs(asked)
    assert list(found) == list(dict.fromkeys(asked))
    assert found[sha] == _alone(origin, sha)
    for gone in (missing, root, tag, tree):
        assert isinstance(found[gone], CommitGoneError)
    for wrong in ("main", "--output=/tmp/x"):
        assert isinstance(found[wrong], PermanentError)
        assert not isinstance(found[wrong], CommitGoneError)
    assert mirrors.mirror("own", "repo", []).diffs([]) == {}


def test_what_is_too_large_has_no_patch_and_spoils_no_other(
    origin: Repository, mirrors: Mirrors
) -> None:
    origin.commit(a=b"1\n")
    small = [origin.commit(a=b"2\n")]
    # One is above what is kept of a diff, one above what a process may write.
    large = [origin.commit(**{f"large-{n}": b"0123456\n" * (n << 17)}) for n in (17, 40)]
    small.append(origin.commit(a=b"3\n"))
    many = origin.commit(**{f"file-{n:04}": b"%d" % n for n in range(3_001)})
    small.append(origin.commit(a=b"4\n"))
    mirror = mirrors.mirror("own", "repo", [many])
    found = mirror.diffs([small[0], *large, small[1], many, small[2]])
    for sha in small:
        assert found[sha] == _alone(origin, sha)
    for sha, n in zip(large, (17, 40), strict=True):
        assert found[sha] == Diff(
            origin.git("rev-parse", f"{sha}^"), (FileChange(f"large-{n}", n << 17, 0),), None
        )
    files = tuple(FileChange(f"file-{n:04}", None, None) for n in range(3_001))
    assert found[many] == Diff(small[1], files, None)
    assert _objects(mirror, "blob") == 6


def test_a_tree_that_holds_itself_many_times_spoils_no_other(
    origin: Repository, mirrors: Mirrors
) -> None:
    """Five trees, 312 million files."""
    before = origin.commit(a=b"1\n")
    entry, kind = origin.git("rev-parse", "HEAD:a"), "100644 blob"
    for _ in range(5):
        listing = "".join(f"{kind} {entry}\t{n:02}\n" for n in range(50))
        entry = _given(origin.path, listing, "mktree")
        kind = "040000 tree"
    bomb = origin.git("commit-tree", "-p", before, "-m", "m", entry)
    origin.git("branch", "bomb", bomb)
    commits = [origin.commit(a=b"2\n"), origin.commit(a=b"3\n")]
    found = mirrors.mirror("own", "repo", [bomb]).diffs([commits[0], bomb, commits[1]])
    assert isinstance(found[bomb], DiffTooLargeError)
    for sha in commits:
        assert found[sha] == _alone(origin, sha)


def test_very_many_contents_are_fetched_in_parts(
    origin: Repository, mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_origin, "_MAX_HASHES", 4)
    commits = [origin.commit(**{f"{n}-{m}": b"%d %d" % (n, m) for m in range(3)}) for n in range(5)]
    mirror = mirrors.mirror("own", "repo", commits)
    calls = _spy_on_git(tmp_path, monkeypatch)
    origin.path.rename(origin.path.with_name("away"))
    found = mirror.diffs(commits[1:])
    assert all(isinstance(error, UnavailableError) for error in found.values())
    # An origin that does not answer is not asked for the other parts.
    assert len(calls(" fetch ")) == 1
    origin.path.with_name("away").rename(origin.path)
    found = mirror.diffs(commits[1:])
    assert found == {sha: _alone(origin, sha) for sha in commits[1:]}
    assert len(calls(" fetch ")) == 5


def test_a_root_that_is_relative_to_the_working_directory(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    origin.commit(a=b"1")
    sha = origin.commit(a=b"2")
    mirror = Mirrors(Path("mirrors")).mirror("own", "repo", [sha])
    assert _diff(mirror, sha) == _alone(origin, sha)
    assert mirror.read(sha, "a") == "2"


def test_a_broken_commit_spoils_no_other(origin: Repository, mirrors: Mirrors) -> None:
    commits = [origin.commit(a=b"%d\n" % n) for n in range(5)][1:]
    mirror = mirrors.mirror("own", "repo", commits)
    text = (
        f"tree {'1' * 40}\nparent {commits[0]}\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\nm"
    )
    broken = _given(mirror.path, text, "hash-object", "-t", "commit", "-w", "--stdin")
    found = mirror.diffs([*commits[:2], broken, *commits[2:]])
    assert isinstance(found[broken], TransientError)
    for sha in commits:
        assert found[sha] == _alone(origin, sha)


def test_only_commits_that_need_an_unreachable_origin_are_unavailable(
    origin: Repository, mirrors: Mirrors
) -> None:
    commits = [origin.commit(a=b"%d\n" % n) for n in range(5)][1:]
    deletes = origin.commit(a=None)
    mirror = mirrors.mirror("own", "repo", [deletes])
    known = mirror.diffs(commits[:2])
    origin.path.rename(origin.path.with_name("away"))
    found = mirror.diffs([*commits, deletes])
    assert {sha: found[sha] for sha in commits[:2]} == known
    for sha in (*commits[2:], deletes):
        error = found[sha]
        assert isinstance(error, UnavailableError)
        assert "could not reach own/repo" in str(error)


def test_contents_that_origin_has_lost_are_gone(origin: Repository, mirrors: Mirrors) -> None:
    commits = [origin.commit(a=b"%d\n" % n) for n in range(8)][1:]
    mirror = mirrors.mirror("own", "repo", commits)
    for sha in (commits[1], commits[4]):
        blob = origin.git("rev-parse", f"{sha}:a")
        (origin.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    found = mirror.diffs(commits)
    gone = {sha for sha, answer in found.items() if isinstance(answer, CommitGoneError)}
    assert gone == {commits[n] for n in (1, 2, 4, 5)}
    assert found[commits[3 + 3]] == _alone(origin, commits[6])


def test_contents_above_the_limit_make_a_diff_too_large(origin: Repository, tmp_path: Path) -> None:
    noise = random.Random(1)
    commits = [origin.commit(a=b"%d\n" % n) for n in range(5)][1:]
    large = origin.commit(b=noise.randbytes(200_000))
    commits.append(origin.commit(a=b"9\n"))
    mirrors = Mirrors(tmp_path / "mirrors", max_bytes=100_000)
    mirror = mirrors.mirror("own", "repo", commits)
    found = mirror.diffs([*commits, large])
    assert found[large] == Diff(commits[3], (FileChange("b", None, None),), None)
    for sha in commits:
        assert found[sha] == _alone(origin, sha)
    assert not [*mirror.path.glob("objects/pack/tmp_*")]


def test_an_attribute_of_the_system_or_the_user_changes_no_diff(
    origin: Repository, mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.commit(a=b"1\n", __gitattributes=b"* -diff\n")
    head = origin.commit(a=b"2\n")
    (tmp_path / ".config" / "git").mkdir(parents=True)
    (tmp_path / ".config" / "git" / "attributes").write_text("* -diff\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _diff(mirrors.mirror("own", "repo", [head]), head).files == (FileChange("a", 1, 1),)


def _all_diffs(root: Path, config: Path, commits: list[str]) -> None:
    os.environ["GIT_CONFIG_GLOBAL"] = str(config)
    found = Mirrors(root).mirror("own", "repo", commits).diffs(commits)
    assert all(isinstance(diff, Diff) for diff in found.values()), found


def test_processes_may_read_diffs_at_once(origin: Repository, config: Path, tmp_path: Path) -> None:
    commits = [origin.commit(a=b"%d\n" % n) for n in range(30)][1:]
    arguments = (tmp_path / "mirrors", config, commits)
    children = [_PROCESSES.Process(target=_all_diffs, args=arguments) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 4
    assert len([*(tmp_path / "mirrors").glob("own/repo.git/objects/pack/*.pack")]) == 2


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
    diff = _diff(mirror, merge)
    assert (diff.base, diff.files) == (tip, (FileChange("b", 1, 0),))


def test_a_diff_can_be_applied(origin: Repository, mirrors: Mirrors, tmp_path: Path) -> None:
    before = {"old": b"same\n" * 20, "bin": b"\0\1\2", "text": b"a\nb\n", "gone": b"x"}
    base = origin.commit(**before)
    after = {"old": None, "new": b"same\n" * 20, "bin": b"\0\3", "text": b"a\nc\n", "gone": None}
    head = origin.commit(**after)
    patch = _diff(mirrors.mirror("own", "repo", [head]), head).patch
    assert patch
    assert "rename" not in patch
    (tmp_path / "patch").write_text(patch)
    origin.git("checkout", "--quiet", base)
    origin.git("apply", "--index", str(tmp_path / "patch"))
    assert origin.git("write-tree") == origin.git("rev-parse", f"{head}^{{tree}}")


def test_a_users_taste_does_not_change_a_diff(
    origin: Repository, mirrors: Mirrors, config: Path, tmp_path: Path
) -> None:
    origin.commit(a__py=b"".join(b"line %d\n" % n for n in range(30)))
    head = origin.commit(a__py=b"".join(b"line %d\n" % (n * (n != 15)) for n in range(30)))
    plain = _diff(mirrors.mirror("own", "repo", [head]), head)
    with config.open("a") as file:
        file.write(
            "[diff]\nnoprefix = true\ncontext = 9\nalgorithm = patience\nexternal = false\n"
            "mnemonicPrefix = true\nrenames = copies\n[core]\nabbrev = 30\nquotePath = false\n"
            f"attributesFile = {tmp_path}/attributes\n[color]\nui = always\n"
        )
    (tmp_path / "attributes").write_text("*.py -diff\n")
    assert _diff(mirrors.mirror("own", "repo", [head]), head) == plain
    assert plain.files == (FileChange("a.py", 1, 1),)


def test_bytes_that_are_no_text_do_not_break_a_diff(origin: Repository, mirrors: Mirrors) -> None:
    origin.commit(latin=b"caf\xe9\n", nul=b"x\n" * 9000 + b"\n")
    head = origin.commit(latin=b"th\xe9\n", nul=b"x\n" * 9000 + b"\0\n")
    patch = _diff(mirrors.mirror("own", "repo", [head]), head).patch
    assert patch
    assert "+th\ufffd" in patch
    assert "\0" not in patch
    patch.encode()


def test_line_counts_are_none_for_a_binary_file(origin: Repository, mirrors: Mirrors) -> None:
    origin.commit(a=b"1\n")
    head = origin.commit(**{"a": b"2\n3\n", "b": b"\0", "tab\tname": b"x\n"})
    assert _diff(mirrors.mirror("own", "repo", [head]), head).files == (
        FileChange("a", 2, 1),
        FileChange("b", None, None),
        FileChange("tab\tname", 1, 0),
    )


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


def test_files_are_read_together_with_one_fetch(
    origin: Repository, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    (origin.path / "sub").mkdir()
    (origin.path / "sub" / "b").write_bytes(b"two")
    (origin.path / "link").symlink_to("a")
    first = origin.commit(**{"a": b"\xef\xbb\xbfone", "*": b"star", "c\nd": b"", "e": b"\xff\0"})
    mirror = mirrors.mirror("own", "repo", [first])
    fetches = []
    fetch = git_origin.Origin.fetch_objects
    monkeypatch.setattr(
        git_origin.Origin,
        "fetch_objects",
        lambda *arguments: (fetches.append(1), fetch(*arguments))[1],
    )
    paths = ["a", "sub/b", "*", "c\nd", "e", "link", "sub", "sub/", "none", ":(top)a", "../a", "/a"]
    paths += ["", ".", "..", "./a", "a\0b", "\ud800"]
    found = mirror.read_many(first, paths)
    assert list(found) == paths
    assert list(found.values())[:5] == ["one", "two", "star", "", "\ufffd\0"]
    assert set(list(found.values())[5:]) == {None}
    assert len(fetches) == 1
    assert mirror.read_many(first, paths) == found
    assert mirror.read_many(first, []) == {}
    assert len(fetches) == 1


def test_a_file_of_a_hostile_size_is_refused(origin: Repository, mirrors: Mirrors) -> None:
    large = origin.commit(a=b"1", b=b"x" * (git_files.MAX_BYTES + 1), c=b"y" * git_files.MAX_BYTES)
    mirror = mirrors.mirror("own", "repo", [large])
    with pytest.raises(git_files.FileTooLargeError, match=r"4,194,305 bytes, more than 4 MiB"):
        mirror.read_many(large, ["a", "b"])
    found = mirror.read_many(large, ["a", "c"])
    assert (found["a"], len(found["c"] or "")) == ("1", git_files.MAX_BYTES)


def test_an_archive_has_the_files_of_a_commit_from_one_fetch(
    origin: Repository, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    (origin.path / "sub").mkdir()
    (origin.path / "sub" / "b").write_bytes(b"\xff\0")
    (origin.path / "link").symlink_to("/etc/passwd")
    (origin.path / "run").write_bytes(b"run")
    (origin.path / "run").chmod(0o755)
    first = origin.commit(a=b"1")
    origin.git("update-index", "--add", "--cacheinfo", f"160000,{first},module")
    origin.git("commit", "--quiet", "--message", "a submodule")
    base = origin.git("rev-parse", "HEAD")
    later = origin.commit(a=b"2")
    fetches = []
    fetch = git_origin.Origin.fetch_objects
    monkeypatch.setattr(
        git_origin.Origin,
        "fetch_objects",
        lambda *arguments: (fetches.append(1), fetch(*arguments))[1],
    )
    mirror = mirrors.mirror("own", "repo", [later])
    archive = mirror.archive(base)
    assert mirror.archive(base) == archive
    assert len(fetches) == 1
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {entry.name: entry for entry in tar}
        contents = {n: tar.extractfile(n) for n, e in files.items() if e.isfile()}
        assert {n: c and c.read() for n, c in contents.items()} == {
            "a": b"1",
            "run": b"run",
            "sub/b": b"\xff\0",
        }
    assert files["link"].linkname == "/etc/passwd"
    assert files["run"].mode & 0o111
    assert files["module"].isdir()


def test_an_archive_of_a_hostile_size_is_refused(
    origin: Repository, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_files, "MAX_ARCHIVE_BYTES", 1024 * 1024)
    large = origin.commit(**{f"f{n}": b"x" * 300_000 for n in range(4)})
    mirror = mirrors.mirror("own", "repo", [large])
    with pytest.raises(git_files.FileTooLargeError, match="more than 1 MiB"):
        mirror.archive(large)


def test_an_archive_whose_contents_cannot_be_had_is_unavailable(
    origin: Repository, mirrors: Mirrors
) -> None:
    first = origin.commit(a=b"1")
    mirror = mirrors.mirror("own", "repo", [first])
    shutil.rmtree(origin.path)
    with pytest.raises(UnavailableError):
        mirror.archive(first)


def test_contents_that_cannot_be_had_are_no_missing_files(
    origin: Repository, mirrors: Mirrors
) -> None:
    first = origin.commit(a=b"1")
    mirror = mirrors.mirror("own", "repo", [first])
    shutil.rmtree(origin.path)
    with pytest.raises(UnavailableError):
        mirror.read_many(first, ["a"])
    assert mirror.read_many(first, ["b"]) == {"b": None}
