"""The workspace of a coding agent on the host: laid out, read again as data, checked, removed.

Whoever works in it is taken to be hostile: nothing of it is followed, executed or read without
bounds here.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from fc_resources import process
from fc_resources.coding_agents import untrusted

#: A larger file is no build script.
SCRIPT_BYTES = 256 * 1024
SCRIPTS, VERIFY, SOCKET = "scripts", "verify", ".verify.sock"
_OURS = (SCRIPTS, VERIFY, SOCKET)
#: The least that a file counts for: many small ones take inodes, and time to look at.
_ENTRY_BYTES = 16 * 1024


class Workspace:
    """`place/workspace` with the files of a task, and `place/home`; a context manager.

    `is_clean` tells texts that may leave the workspace from those that hold a secret. Raises
    `ValueError` for names that cannot be those of its files.
    """

    def __init__(
        self,
        place: Path,
        files: Mapping[str, str],
        scripts: Mapping[str, str],
        client: str,
        is_clean: Callable[[str], bool],
    ) -> None:
        for name in files:
            parts = Path(name).parts
            if not parts or Path(name).is_absolute() or ".." in parts or parts[0] in _OURS:
                raise ValueError(f"{name!r} cannot be a file of the workspace")
        for name in scripts:
            if name in ("", "..") or Path(name).name != name:
                raise ValueError(f"{name!r} cannot be a script")
        self.place = place
        self.folder = place / "workspace"
        self._given = {**files, VERIFY: client}
        self._scripts = dict(scripts)
        self._is_clean = is_clean
        self._descriptor = -1

    def __enter__(self) -> "Workspace":
        self.place.mkdir(parents=True)
        try:
            (self.folder / SCRIPTS).mkdir(parents=True)
            (self.place / "home").mkdir()
            for name, text in self._given.items():
                self._write(name, text, 0o755 if name == VERIFY else 0o644)
            for name, text in self._scripts.items():
                self._write(f"{SCRIPTS}/{name}", text, 0o755)
            self._descriptor = os.open(self.folder / SCRIPTS, os.O_RDONLY | os.O_DIRECTORY)
        except BaseException:
            remove(self.place)
            raise
        return self

    def _write(self, name: str, text: str, mode: int) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._descriptor)
        remove(self.place)

    def scripts(self) -> dict[str, str]:
        """The scripts of the task as they are there; the given one where it cannot be taken."""
        found = {name: self._script(name) for name in self._scripts}
        return {n: self._scripts[n] if text is None else text for n, text in found.items()}

    def _script(self, name: str) -> str | None:
        content = untrusted.content(name, self._descriptor, SCRIPT_BYTES)
        if content is None or b"\0" in content:
            return None
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            return None
        return text if self._is_clean(text) else None

    def tampered(self) -> list[str]:
        """What is not as it was given, besides the scripts: changed, missing, or new."""
        wrong = []
        for name, text in self._given.items():
            path = self.folder / name
            expected = hashlib.sha256(text.encode()).digest()
            if path.is_symlink() or not path.is_file() or _hash(path) != expected:
                wrong.append(name)
        known = {self.folder / name for name in (*self._given, SCRIPTS, SOCKET)}
        known |= {parent for path in known for parent in path.parents}
        for folder, folders, files in os.walk(self.folder):
            if Path(folder) == self.folder:
                folders.remove(SCRIPTS)
            there = (Path(folder) / name for name in (*folders, *files))
            wrong += [str(path.relative_to(self.folder)) for path in there if path not in known]
        return wrong

    def takes_more_than(self, limit: int) -> bool:
        """Whether the folders that the agent can write to hold more than `limit` bytes.

        What cannot be looked at counts as more.
        """
        total, waiting = 0, [self.folder / SCRIPTS, self.place / "home"]
        while waiting and total <= limit:
            try:
                with os.scandir(waiting.pop()) as found:
                    for entry in found:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(Path(entry.path))
                        total += _size(entry)
            except (FileNotFoundError, NotADirectoryError):
                continue  # gone by now
            except OSError:
                return True
        return total > limit


def _size(entry: "os.DirEntry[str]") -> int:
    with contextlib.suppress(FileNotFoundError):
        return max(_ENTRY_BYTES, entry.stat(follow_symlinks=False).st_blocks * 512)
    return 0


def _hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def remove(folder: Path) -> None:
    """Remove a folder with whatever was put into it: no access bits, thousands of levels deep."""
    for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        process.run([*command, "--", folder], timeout_s=300, env=process.environment())
