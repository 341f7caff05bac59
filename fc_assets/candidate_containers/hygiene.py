"""The hygiene check: an image has the base commit, the tools asked for, and nothing of the future.

Decided here from the files of all layers, which are read as data: no program of the image is asked.
"""

import dataclasses
import io
import json
import posixpath
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from fc_assets.candidate_containers.checks import Check
from fc_assets.candidate_containers.interpreter import Installed, Reference, startup_pins
from fc_assets.candidate_containers.stock import Candidate
from fc_assets.candidate_containers.traces import Note, Reader, Solution
from fc_assets.packages import asv_config
from fc_resources import docker_layers, git_packs
from fc_resources.docker import ROOT, Docker
from fc_resources.docker_layers import Entry, MalformedImageError, Tree
from fc_resources.git import Mirror
from fc_resources.git_diffs import Diff

_SHOWN = 5
_GIT_TIMEOUT_S = 600
#: Regular files, executable or not.
_REGULAR = ("100644", "100755")
_KEEP = re.compile(
    rf"{ROOT[1:]}/(asv\.json|venv/(pyvenv\.cfg|bin/asv|lib/[^/]+/site-packages/(_[^/]+\.py|[^/]+\.pth)))"
)
#: What the configuration of a container adds to the repository's: see `docker_build_run.sh`.
_ASV_KEYS = ("repo", "dvcs", "benchmark_dir", "environment_type", "plugins")


@dataclasses.dataclass(frozen=True)
class Past:
    """What git knew at the base commit, and what only the solution brought."""

    objects: frozenset[str]
    tree: Mapping[str, tuple[str, str]]
    solution: Solution

    @classmethod
    def of(cls, mirror: Mirror, candidate: Candidate) -> "Past":
        """From the mirror; nothing of it ever reaches a container."""
        pack = mirror.pack(candidate.base_sha, None)
        objects = git_packs.packed(io.BytesIO(pack), _GIT_TIMEOUT_S)
        after = git_packs.packed(
            io.BytesIO(mirror.pack(candidate.sha, candidate.base_sha)), _GIT_TIMEOUT_S
        )
        diff = mirror.diffs([candidate.sha])[candidate.sha]
        patch = diff.patch if isinstance(diff, Diff) else None
        changed = [f.path for f in diff.files] if isinstance(diff, Diff) else []
        tree = git_packs.tree(pack, candidate.base_sha, _GIT_TIMEOUT_S)
        known = [path for path in changed if tree.get(path, ("", ""))[0] in _REGULAR]
        before = [text or "" for text in mirror.read_many(candidate.base_sha, known).values()]
        new = {name: about for name, about in after.items() if name not in objects}
        return cls(frozenset(objects), tree, Solution.of(new, patch, before))


@dataclasses.dataclass(frozen=True)
class Subject:
    """An image to check: layers from `own` on are ours, from `untrusted` on others' code ran.

    `reference` gets wheels: ASV's, and those of the pins it is given.
    """

    docker: Docker
    image: str
    own: int
    untrusted: int
    reference: Callable[[Sequence[str]], Reference]


def hygiene(
    subject: Subject,
    candidate: Candidate,
    mirror: Mirror,
    secrets: Sequence[bytes],
    strict: bool = False,
) -> Check:
    """Read all layers of the image and say what is wrong with them.

    What a build of ours does to tracked files is its own affair unless they are benchmarks'; with
    `strict` none may differ.
    """
    past = Past.of(mirror, candidate)
    blobs = {path: blob for path, (mode, blob) in past.tree.items() if mode in _REGULAR}
    known = frozenset(blobs.values())
    reader = Reader(
        subject.own, subject.untrusted, secrets, past.solution, known, _KEEP, _GIT_TIMEOUT_S
    )
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "image.tar")
        subject.docker.save(subject.image, saved)
        try:
            tree, entries, config = docker_layers.read(saved, reader.visit)
        except MalformedImageError as error:
            return Check("hygiene", "failed", str(error))
    checkout = f"{ROOT}/{candidate.repo}"
    reference = subject.reference(startup_pins(tree, ROOT))
    installed = Installed(tree, entries, subject.untrusted, ROOT, checkout, reference)
    differ = [p for p, blob in blobs.items() if _blob(tree.get(f"{checkout}/{p}")) != blob]
    found = [
        *(f"{path} is not the base commit's" for path in differ if strict),
        *(f"the image's configuration has {finding}" for finding in reader.config(config)),
        *_traces(entries, past, f"{checkout[1:]}/.git/"),
        *_benchmarks(tree, candidate, mirror, past, checkout),
        *installed.findings(blobs),
    ]
    if found:
        unique = list(dict.fromkeys(found))
        more = f"; and {len(unique) - _SHOWN} more" if len(unique) > _SHOWN else ""
        return Check("hygiene", "failed", "; ".join(unique[:_SHOWN]) + more)
    read = sum(entry.kind == "file" and entry.layer >= subject.own for entry in entries)
    return Check(
        "hygiene",
        "passed",
        f"{read} files of the layers above the base image read, {len(past.objects)} git objects "
        f"of the base commit and no other, {len(past.solution.lines)} lines and "
        f"{len(past.solution.blobs)} files of the solution looked for; "
        f"{len(differ)} tracked files differ, none of them a benchmark's",
    )


def _traces(entries: Sequence[Entry], past: Past, git: str) -> Iterator[str]:
    for entry in entries:
        note = entry.note
        if not isinstance(note, Note):
            continue
        for finding in note.findings:
            yield f"{entry.path} has {finding}"
        if later := note.objects & past.solution.objects:
            yield f"{entry.path} has {len(later)} git objects of the solution, as {min(later)}"
        elif note.objects and entry.path.startswith(git):
            # A submodule's are another repository's.
            inside = not entry.path.startswith(f"{git}modules/")
            if inside and (foreign := note.objects - past.objects):
                what = f"{len(foreign)} git objects that the base commit does not reach"
                yield f"{entry.path} has {what}, as {min(foreign)}"


def _benchmarks(
    tree: Tree, candidate: Candidate, mirror: Mirror, past: Past, checkout: str
) -> Iterator[str]:
    """Whether benchmarks, and ASV's configuration, are the base commit's."""
    path = candidate.asv_config or ""
    config = asv_config.parse(path, mirror.read(candidate.base_sha, path))
    folder = config.benchmark_dir
    if config.failure or folder.startswith(("..", "/")):
        yield f"{path} does not tell where the benchmarks are: {config.failure or folder}"
        return
    inside = "" if folder == "." else f"{folder}/"
    wanted = {p: b for p, (_, b) in past.tree.items() if p == path or p.startswith(inside)}
    linked = {p for p in wanted if past.tree[p][0] not in _REGULAR}
    for name, blob in wanted.items():
        entry = tree.get(f"{checkout}/{name}")
        if name not in linked and _blob(entry) != blob:
            yield f"{name} is not the base commit's"
        elif name in linked and (entry is None or entry.kind == "file"):
            yield f"{name} is not the base commit's link"
    for name, _ in tree.below(f"{checkout}/{folder}" if inside else ""):
        if inside and f"{inside}{name}" not in wanted:
            yield f"{inside}{name} is not in the base commit"
    made = _json(tree.get(f"{ROOT}/asv.json"))
    expected = {
        "repo": checkout,
        "dvcs": "git",
        "benchmark_dir": posixpath.join(checkout, folder),
        "environment_type": "virtualenv",
        "plugins": config.content.get("plugins"),
    }
    for key in _ASV_KEYS:
        if made.get(key) != expected[key]:
            yield f"{ROOT}/asv.json has another {key} than the base commit's"


def _json(entry: Entry | None) -> Mapping[str, object]:
    note = entry.note if entry is not None else None
    try:
        content = json.loads(note.content) if isinstance(note, Note) else None
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _blob(entry: Entry | None) -> str | None:
    note = entry.note if entry is not None and entry.kind == "file" else None
    return note.blob if isinstance(note, Note) else None
