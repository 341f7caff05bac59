"""Versions of the dataset: made in one step if content changed, tagged, withdrawn from, compared.

A version is a commit with a tag; only the newest one can be without its tag, since whoever makes
the next one gives it first. So each step can be repeated by anybody after a kill: looking at the
newest version tells which were done. Commits that others made by hand are no versions: the next
version undoes what they did to files of the last.
"""

import dataclasses
import datetime
import hashlib
import random
import re
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from fc_assets import interrupts
from fc_assets.formulacode import card, files, records
from fc_assets.formulacode.files import Manifest, Month, Withdrawal
from fc_assets.formulacode.records import Rules
from fc_resources.dataset import Dataset, NoVersionError, Refs, StaleError, full
from fc_resources.dataset_bucket import DatasetBucket
from fc_resources.dataset_folder import DatasetFolder
from fc_resources.errors import InterruptedRunError, PermanentError, TransientError, UsageError
from fc_resources.huggingface import Hub
from fc_resources.settings import Settings

_OUTAGES, _RACES = 4, 100
_PAUSE_S = 0.5
#: What is limited for longer is put off, and not asked for before.
_PATIENCE_S = 10
_VERSION = "formulacode@{}"
_PATH = re.compile(r"(\w+/)?[\w-]+\.\w+")


@dataclasses.dataclass(frozen=True)
class State:
    """A version of a dataset; `revision` is None before the first.

    `head` is the commit that the next one is made on: another if files were changed by hand since.
    """

    revision: str | None = None
    head: str | None = None
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    manifest: Manifest = dataclasses.field(default_factory=Manifest)
    withdrawn: Mapping[str, Withdrawal] = dataclasses.field(default_factory=dict)

    def rules(self, settings: Settings, label: str) -> Rules:
        """What decides about the tasks of a month."""
        withdrawn = {task: told.reason for task, told in self.withdrawn.items()}
        known = self.manifest.months.get(label)
        published = known.records if known else {}
        return Rules.of(settings, withdrawn, self.elsewhere(label), published)

    def elsewhere(self, label: str) -> dict[str, str]:
        """Tasks whose patches a month must not have, by what these do.

        They are withdrawn, or in another month. Of what both have, the later one leaves it.
        """
        months = self.manifest.months
        own = {*months[label].records.values()} if label in months else set()
        published = {
            patch: task
            for name, month in months.items()
            if name != label
            for task, patch in month.records.items()
            if patch and (name < label or patch not in own)
        }
        withdrawn = {one.patch_id: task for task, one in self.withdrawn.items() if one.patch_id}
        return published | withdrawn

    def next_version(self, label: str) -> str:
        """A name that no version has had."""
        used = {*self.manifest.versions, *self.tags}
        name, again = _VERSION.format(label), 0
        while name in used:
            again += 1
            name = f"{_VERSION.format(label)}.{again}"
        return name


@dataclasses.dataclass(frozen=True)
class Update:
    """What a version changes: all records of a month, and what is withdrawn from now on."""

    label: str
    month: pa.Table
    withdrawn: Mapping[str, Withdrawal]
    why: str


def target(settings: Settings) -> Dataset:
    """Where these settings publish: the Hub, a bucket, or a folder of the home."""
    if settings.fc_dataset is None:
        return DatasetFolder(settings.published)
    if settings.fc_dataset.startswith("s3://"):
        return DatasetBucket(settings.fc_dataset, settings.fc_s3_path_style)
    cache = settings.fc_home / "hub"
    return Hub(settings.fc_dataset, cache, settings.hub_token, settings.hf_endpoint)


def look(dataset: Dataset) -> State:
    """The newest version as it was made; nothing is changed."""
    refs = dataset.refs()
    manifest = _manifest(dataset, refs, refs.head)
    if refs.head is None or not manifest.versions:
        return State(head=refs.head, tags=refs.tags)
    if manifest.versions[-1] in refs.tags:
        return _at(dataset, refs, refs.tags[manifest.versions[-1]])
    made = refs.head
    for older in dataset.ancestors(refs.head):
        if _manifest(dataset, refs, older).versions[-1:] != manifest.versions[-1:]:
            break
        made = older
    state = _at(dataset, refs, made)
    for path in state.manifest.files:  # it gets a tag, which stays: what that names has to be whole
        _checked(dataset, state, path)
    return state


def find(dataset: Dataset, rev: str | None) -> State:
    """A version by tag or revision, the newest one by default; `UsageError` if there is none."""
    if rev is None:
        found = look(dataset)
    else:
        refs = dataset.refs()
        try:
            found = _at(dataset, refs, refs.tags.get(rev, rev))
        except NoVersionError:
            if rev in refs.tags:
                raise
            found = State(tags=refs.tags)
    if not found.manifest.versions:
        known = ", ".join(sorted(found.tags)[-10:]) or "none"
        raise UsageError(f"{dataset.name} has no version {rev or ''}; there are: {known}")
    return found


def _at(dataset: Dataset, refs: Refs, revision: str) -> State:
    state = State(revision, refs.head, refs.tags, _manifest(dataset, refs, revision))
    if not state.manifest.versions:
        return state
    withdrawn = files.load_withdrawn(_checked(dataset, state, files.WITHDRAWN))
    return dataclasses.replace(state, withdrawn=withdrawn)


def _manifest(dataset: Dataset, refs: Refs, revision: str | None) -> Manifest:
    """What a commit says; nothing before the first version."""
    data = dataset.read(files.MANIFEST, revision) if revision else None
    if data is not None:
        return Manifest.load(data)
    if any(tag.startswith(_VERSION.format("")) for tag in refs.tags):
        raise NoVersionError(
            f"{dataset.name} has versions and shows no {files.MANIFEST} of "
            f"{revision or 'the newest'}; run it again, or restore it"
        )
    return Manifest()


def publish(
    dataset: Dataset, label: str, month: pa.Table, due: Collection[str] = ()
) -> Month | None:
    """Have the dataset's records of a month be these; None for a month that never had any.

    Withdrawn ones stay out, and those whose patch another month has. Nothing is changed if it has
    them already. `PermanentError` if it has a task that is `due`, and these records do not.
    """
    given = {*month["task_id"].to_pylist()}

    def update(state: State) -> Update | None:
        elsewhere = state.elsewhere(label)
        rows = [
            row
            for row in month.to_pylist()
            if row["task_id"] not in state.withdrawn and row["patch_id"] not in elsewhere
        ]
        wanted, known = files.table(rows), state.manifest.months.get(label)
        if known and (lost := {*due} & {*known.records} - {*state.withdrawn} - given):
            raise PermanentError(
                f"{label} is not published: {', '.join(sorted(lost))} would go, having failed or "
                "lost the image; fc-data failures tells why, fc-data publish --force tries again, "
                "and fc-data unpublish takes one out for good"
            )
        if known is None and not rows:
            return None
        if known is not None and known.content == records.content(wanted.to_pylist()):
            return None
        return Update(label, wanted, state.withdrawn, f"{len(rows)} records")

    return _bring(dataset, update).manifest.months.get(label)


def withdraw(dataset: Dataset, task_id: str, reason: str, now: datetime.datetime) -> str:
    """Take a record out for good; the month it was in. `UsageError` if it was never published."""

    def label_of(state: State) -> str:
        for label, month in state.manifest.months.items():
            if task_id in month.records:
                return label
        if task_id in state.withdrawn:
            return state.withdrawn[task_id].month
        raise UsageError(f"{dataset.name} has no record {task_id}")

    def update(state: State) -> Update | None:
        label = label_of(state)
        if task_id in state.withdrawn:
            return None
        rows = month_of(dataset, state, label).to_pylist()
        kept = files.table(row for row in rows if row["task_id"] != task_id)
        patch_id = state.manifest.months[label].records[task_id]
        one = Withdrawal(task_id, reason, now, label, patch_id)
        return Update(label, kept, {**state.withdrawn, task_id: one}, f"{task_id} withdrawn")

    return label_of(_bring(dataset, update))


def restore(dataset: Dataset, task_id: str) -> str:
    """Take a withdrawal back; its month, which has the record when it is published again.

    `UsageError` if it is not withdrawn.
    """
    state = _bring(dataset, lambda state: None)
    if task_id not in state.withdrawn:
        raise UsageError(f"{task_id} is not withdrawn from {dataset.name}")
    label = state.withdrawn[task_id].month

    def update(state: State) -> Update | None:
        left = {task: told for task, told in state.withdrawn.items() if task != task_id}
        if len(left) == len(state.withdrawn):
            return None
        month = month_of(dataset, state, label)
        return Update(label, month, left, f"{task_id} not withdrawn any more")

    _bring(dataset, update)
    return label


def _bring(dataset: Dataset, update: Callable[[State], Update | None]) -> State:
    """Make a version if there is something to update; the newest one then, which has its tag."""
    made, races, outages = False, 0, 0
    while True:
        try:
            state = look(dataset)
            _tag(dataset, state)
            # What others made of it since is not undone.
            wanted = None if made else update(state)
            if wanted is None:
                return state
            version = state.next_version(wanted.label)
            content = _version(dataset, state, wanted, version)
            dataset.commit(content, state.head, f"{version}: {wanted.why}")
            made = True
        except StaleError:
            races += 1
            if races > _RACES:
                raise
            _pause(dataset, _PAUSE_S)
        except TransientError as error:
            # The version may have been made all the same: looking again tells.
            outages += 1
            if outages > _OUTAGES or (error.until or 0) > time.time() + _PATIENCE_S:
                raise
            _pause(dataset, _PAUSE_S * 2**outages)


def _pause(dataset: Dataset, seconds: float) -> None:
    if interrupts.STOP.wait(seconds * random.uniform(0.5, 1.5)):
        raise InterruptedRunError(f"publishing to {dataset.name} was stopped; run it again")


def _tag(dataset: Dataset, state: State) -> None:
    if state.revision and state.manifest.versions[-1] not in state.tags:
        dataset.tag(state.manifest.versions[-1], state.revision)


def _version(
    dataset: Dataset, state: State, update: Update, version: str
) -> dict[str, bytes | None]:
    """All files that a version changes; None is for those it removes."""
    before = state.manifest
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    content = _parquet(dataset, state, update)
    content[files.WITHDRAWN] = files.dump_withdrawn(update.withdrawn.values())
    months = {**before.months, update.label: files.month(version, now, update.month)}
    months = dict(sorted(months.items()))
    described = card.files(dataset.address, months, update.withdrawn.values(), version)
    content |= {path: None for path in before.files if card.is_picture(path)} | described
    edited = state.head if state.head != state.revision else None
    if edited:  # what was done by hand to the other files is undone
        others = before.files.keys() - content.keys()
        content |= {path: _checked(dataset, state, path) for path in others}
    kept = {path: told for path, told in before.files.items() if path not in content}
    made = dict(files.described(path, data) for path, data in content.items() if data is not None)
    every = dict(sorted((kept | made).items()))
    manifest = Manifest([*before.versions, version], months, every, files.columns())
    content[files.MANIFEST] = manifest.dump()
    return {
        path: data
        for path, data in content.items()
        if data is not None or not edited or dataset.read(path, edited) is not None
    }


def _parquet(dataset: Dataset, state: State, update: Update) -> dict[str, bytes | None]:
    """Files of the month, and of the others if they have other columns."""
    before, columns = state.manifest, files.columns()
    known = {column.partition(":")[0] for column in columns}
    if newer := {column.partition(":")[0] for column in before.columns} - known:
        raise PermanentError(
            f"{dataset.name} has columns that this version would drop "
            f"({', '.join(sorted(newer))}); update formulacode-data"
        )
    tables = {update.label: update.month}
    if before.months and list(before.columns) != columns:
        # All files have the same columns, or they could not be loaded together.
        for label in before.months.keys() - {update.label}:
            tables[label] = month_of(dataset, state, label)
    content: dict[str, bytes | None] = {}
    for label, month in tables.items():
        # `datasets` cannot load a file without rows.
        parts = {files.data(label): month, files.verified(label): files.faster(month)}
        for path, part in parts.items():
            if part.num_rows:
                content[path] = files.to_parquet(part)
            elif path in before.files:
                content[path] = None
    return content


def month_of(dataset: Dataset, state: State, label: str) -> pa.Table:
    """The records of a month in a version; none if it has none."""
    path = files.data(label)
    if path not in state.manifest.files:
        return files.table([])
    return files.from_parquet(_checked(dataset, state, path))


def _checked(dataset: Dataset, state: State, path: str) -> bytes:
    content = dataset.read(path, state.revision) if state.revision else None
    if content is None:
        raise PermanentError(f"{dataset.name} has no {path}, which its {files.MANIFEST} names")
    if hashlib.sha256(content).hexdigest() != state.manifest.files[path].sha256:
        raise PermanentError(
            f"{path} of {dataset.name} is not what its {files.MANIFEST} says; restore it"
        )
    return content


def fetch(dataset: Dataset, rev: str | None, folder: Path) -> list[Path]:
    """Write the files of a version into a new folder, checked, all or none of them."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already; give --to another folder")
    version = find(dataset, rev)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".get-", dir=folder.parent) as beside:
            part = Path(beside) / "part"
            for path in version.manifest.files:
                if not _PATH.fullmatch(path):
                    raise PermanentError(f"{dataset.name} names a file {path!r}; it is not written")
                content = _checked(dataset, version, path)
                (part / path).parent.mkdir(parents=True, exist_ok=True)
                (part / path).write_bytes(content)
            (part / files.MANIFEST).write_bytes(version.manifest.dump())
            if folder.exists():
                folder.rmdir()
            part.rename(folder)
    except OSError as error:
        if full(error):
            raise TransientError(f"no space left for {folder}; make some, or give --to") from None
        raise UsageError(f"{folder} cannot be written ({error.strerror})") from None
    return [folder / path for path in (*version.manifest.files, files.MANIFEST)]


def changes(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """How each task of either changed: added, removed, unchanged, or changed with the columns."""
    before, after = ({row["task_id"]: row for row in rows} for rows in (old, new))
    found = {}
    for task in sorted(before.keys() | after.keys()):
        if task not in before or task not in after:
            found[task] = "added" if task in after else "removed"
            continue
        told = records.said(after[task])
        names = [name for name in told if before[task].get(name) != told[name]]
        found[task] = f"changed: {', '.join(names)}" if names else "unchanged"
    return found


def compare(dataset: Dataset, rev1: str, rev2: str) -> list[dict[str, str]]:
    """What changed from one version to another: month, task, change and, if known, the reason."""
    first, second = find(dataset, rev1), find(dataset, rev2)
    found = []
    for label in sorted(first.manifest.months.keys() | second.manifest.months.keys()):
        old, new = (v.manifest.months.get(label) for v in (first, second))
        if old and new and old.content == new.content:
            continue
        rows = [month_of(dataset, version, label).to_pylist() for version in (first, second)]
        for task, change in changes(*rows).items():
            if change != "unchanged":
                told = second.withdrawn.get(task) if change == "removed" else None
                reason = f"withdrawn: {told.reason}" if told else ""
                found.append({"month": label, "task": task, "change": change, "reason": reason})
    return found
