"""What must not be in any layer of an image: the solution, objects of later commits, credentials.

Looked for in every file of every layer, also where a later layer removed it. Which layers there
are is for `fc_resources.docker_layers`, whether Python is as it should be for `interpreter`.
"""

import base64
import dataclasses
import hashlib
import io
import math
import re
from collections.abc import Mapping, Sequence, Set
from typing import IO

from fc_resources import git_packs
from fc_resources.docker_layers import Entry

_CHUNK = 1 << 20
#: Kept of a file that is looked into, in bytes.
KEPT = 1 << 20
#: How tokens begin and go on: searching for the literal first is ten times as fast.
_TOKENS = [
    (b"ghp_", rb"[A-Za-z0-9]{36}"),
    (b"gho_", rb"[A-Za-z0-9]{36}"),
    (b"ghu_", rb"[A-Za-z0-9]{36}"),
    (b"ghs_", rb"[A-Za-z0-9]{36}"),
    (b"ghr_", rb"[A-Za-z0-9]{36}"),
    (b"github_pat_", rb"[A-Za-z0-9_]{60}"),
    (b"glpat-", rb"[A-Za-z0-9_-]{20}"),
    (b"dckr_pat_", rb"[A-Za-z0-9_-]{24}"),
    (b"hf_", rb"[A-Za-z]{34}\b"),
    (b"sk-ant-", rb"[A-Za-z0-9_-]{24}"),
    (b"sk-proj-", rb"[A-Za-z0-9_-]{40}"),
    # Amazon's documentation, and so botocore, has one that ends like this.
    (b"AKIA", rb"[A-Z0-9]{16}\b(?<!EXAMPLE)"),
    (b"pypi-AgEIcHlwaS5vcmc", rb"[A-Za-z0-9_-]{50}"),
]
#: Not within a word: names of symbols in scipy's libraries go on after `Highs_`.
_EXPRESSIONS = [
    (literal, re.compile(rb"(?<![A-Za-z0-9])" + re.escape(literal) + rest))
    for literal, rest in _TOKENS
]
#: The longest token that has to be found where two chunks meet.
_LONGEST = 256
#: A shorter secret would be found by chance; so would a smaller file.
_MIN_SECRET, _MIN_BLOB = 8, 32
_MIN_LINE, _MIN_LONE_LINE = 20, 40
_MAX_LINES = 12


@dataclasses.dataclass(frozen=True)
class Note:
    """What was seen of a file: its hash as a git blob (None where not read), objects, findings."""

    blob: str | None = None
    objects: frozenset[str] = frozenset()
    content: bytes = b""
    findings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Solution:
    """What tells the solution: objects git has only after the merge, and lines only it adds."""

    objects: Set[str]
    blobs: Set[str]
    lines: Sequence[bytes]

    @classmethod
    def of(
        cls, objects: Mapping[str, tuple[str, int]], patch: str | None, before: Sequence[str]
    ) -> "Solution":
        """From the objects the merge brought, its patch, and the patched files as they were."""
        blobs = {n for n, (kind, size) in objects.items() if kind == "blob" and size >= _MIN_BLOB}
        known = {line.strip() for text in before for line in text.splitlines()}
        added = {
            line[1:].strip()
            for line in (patch or "").splitlines()
            if line.startswith("+") and not line.startswith("+++")
        }
        lines = sorted(
            (x for x in added - known if len(x) >= _MIN_LINE), key=lambda x: (-len(x), x)
        )
        # One line alone tells something only when nobody else would write it.
        enough = len(lines) > 1 or (lines and len(lines[0]) >= _MIN_LONE_LINE)
        chosen = [line.encode() for line in lines[:_MAX_LINES]] if enough else []
        return cls(set(objects), blobs, chosen)

    def told_by(self, found: int) -> bool:
        """Whether a file with so many of the lines tells the solution."""
        return found >= max(min(2, len(self.lines)), math.ceil(len(self.lines) / 2)) > 0


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads files of layers from number `own` on; those before came with the base image.

    Scripts of ours alone made the layers below `untrusted`: no code of a repository ran there.
    """

    own: int
    untrusted: int
    secrets: Sequence[bytes]
    solution: Solution
    known: Set[str]
    keep: re.Pattern[str]
    timeout_s: float

    def visit(self, entry: Entry, content: IO[bytes]) -> Note | None:
        """What `docker_layers.read` notes of a file."""
        if entry.layer < self.own:
            return None
        head = content.read(git_packs.HEAD)
        objects, findings = self._objects(head, content)
        content.seek(0)
        if entry.layer < self.untrusted:
            if self.secrets and self._search(content, self.secrets, tokens=False)[0]:
                findings.append("a secret of ours")
            return Note(None, objects, b"", tuple(findings))
        needles = [*self.secrets, *self.solution.lines]
        found, tokens, blob, kept = self._all(entry, content, needles)
        if blob in self.known:  # whatever it has was there for all to see at the base commit
            found, tokens = {n for n in found if n in self.secrets}, []
        if any(needle in self.secrets for needle in found):
            findings.append("a secret of ours")
        findings += tokens
        if blob in self.solution.blobs:
            findings.append("a file of the solution")
        elif self.solution.told_by(len(found - set(self.secrets))):
            findings.append("lines that only the solution adds")
        return Note(blob, objects, kept, tuple(findings))

    def config(self, content: bytes) -> list[str]:
        """Findings in the image's configuration."""
        found, tokens = self._search(io.BytesIO(content), self.secrets)
        return tokens + (["a secret of ours"] if found else [])

    def _objects(self, head: bytes, content: IO[bytes]) -> tuple[frozenset[str], list[str]]:
        kind = git_packs.kind(head)
        if kind is None:
            return frozenset(), []
        content.seek(0)
        try:
            if kind == "loose":
                return frozenset((git_packs.loose(content),)), []
            return frozenset(git_packs.packed(content, self.timeout_s)), []
        except git_packs.UnreadableObjectsError as error:
            return frozenset(), [f"git objects that cannot be read ({error})"]

    def _all(
        self, entry: Entry, content: IO[bytes], needles: Sequence[bytes]
    ) -> tuple[set[bytes], list[str], str, bytes]:
        """Needles and tokens found, the hash as a blob, and the start of what is to be kept."""
        digest = hashlib.sha1(b"blob %d\0" % entry.size, usedforsecurity=False)
        # Kept on the way: in a compressed layer, going back would read it all again.
        wanted = self.keep.search(entry.path) and entry.size <= KEPT
        spied = _Spied(content, digest, bytearray() if wanted else None)
        found, tokens = self._search(spied, needles)
        return found, tokens, digest.hexdigest(), bytes(spied.kept or b"")

    def _search(
        self, content: "IO[bytes] | _Spied", needles: Sequence[bytes], *, tokens: bool = True
    ) -> tuple[set[bytes], list[str]]:
        found: set[bytes] = set()
        kinds: dict[str, None] = {}
        overlap = max([_LONGEST, *map(len, needles)])
        before = b""
        while chunk := content.read(_CHUNK):
            text = before + chunk
            found |= {needle for needle in needles if needle in text}
            for literal, expression in _EXPRESSIONS if tokens else ():
                if literal in text and expression.search(text):
                    kinds[f"what looks like a token ({literal.decode()}...)"] = None
            before = text[-overlap:]
        return found, list(kinds)


@dataclasses.dataclass(frozen=True)
class _Spied:
    """A file that hashes, and keeps where that is wanted, what is read of it."""

    content: IO[bytes]
    digest: "hashlib._Hash"
    kept: bytearray | None

    def read(self, size: int) -> bytes:
        chunk = self.content.read(size)
        self.digest.update(chunk)
        if self.kept is not None:
            self.kept.extend(chunk)
        return chunk


def secrets(values: Sequence[str]) -> list[bytes]:
    """What to look for of secrets: themselves and in base64, as configuration files have them."""
    found = [value.encode() for value in values if len(value) >= _MIN_SECRET]
    return found + [base64.b64encode(value).rstrip(b"=")[:-1] for value in found]


def text_of(entry: Entry | None) -> str:
    """The text of a file whose content was kept; empty for what is no such file."""
    note = entry.note if entry is not None and entry.kind == "file" else None
    return note.content.decode("utf-8", "replace") if isinstance(note, Note) else ""
