"""A saved image read as data: its layers in order, and the file system they make together.

Nothing of it is unpacked or run, so no program of the image can say what is in the image. What the
files mean is for the caller.
"""

import dataclasses
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from fc_resources.errors import PermanentError

#: Of all layers together; a large scientific environment has 200,000.
MAX_ENTRIES = 3_000_000
_MAX_DEPTH = 200
_MAX_LINKS = 40
_MAX_METADATA = 16 * 1024 * 1024
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


class MalformedImageError(PermanentError):
    """What the daemon saved is no image that can be read here."""


@dataclasses.dataclass
class Entry:
    """A file, folder or link of a layer; `note` is what the caller's visitor made of its content.

    `kind` is `file`, `folder`, `link` (`target` tells where to), `other`, or `removed`.
    """

    path: str
    kind: str
    layer: int
    size: int = 0
    target: str = ""
    note: object = None


#: Called with each regular file and its content; the result becomes the entry's `note`.
Visit = Callable[[Entry, IO[bytes]], object]


class Tree:
    """The file system of layers, one put over the other."""

    def __init__(self) -> None:
        self._root = _Node(Entry("", "folder", 0), {})

    def put(self, entry: Entry) -> None:
        """Add an entry of a layer above all before."""
        *parents, name = entry.path.split("/")
        children = self._root.children
        for parent in parents:
            node = children.get(parent)
            if node is None:
                folder = Entry("", "folder", entry.layer)
                node = children[parent] = _Node(folder, {})
            children = node.children
        if entry.kind == "removed":
            children.pop(name, None)
            return
        old = children.get(name)
        keep = old is not None and old.entry.kind == entry.kind == "folder"
        children[name] = _Node(entry, old.children if old is not None and keep else {})

    def clear(self, folder: str) -> None:
        """Forget what lower layers have in a folder."""
        node = self._node(folder)
        if node is not None:
            node.children.clear()

    def get(self, path: str) -> Entry | None:
        """What is at an absolute path without following any link."""
        node = self._node(path.strip("/"))
        return None if node is None else node.entry

    def names(self, path: str) -> list[str]:
        """Names in a folder that no link leads to, sorted."""
        node = self._node(path.strip("/"))
        return sorted(node.children) if node is not None else []

    def below(self, path: str) -> Iterator[tuple[str, Entry]]:
        """Relative path and entry of all below a folder that is no folder itself."""
        start = self._node(path.strip("/"))
        stack = [("", start)] if start is not None else []
        while stack:
            prefix, node = stack.pop()
            for name, child in node.children.items():
                if child.entry.kind == "folder":
                    stack.append((f"{prefix}{name}/", child))
                else:
                    yield f"{prefix}{name}", child.entry

    def resolve(self, path: str) -> tuple[str, Entry] | None:
        """Real path and entry after following all links; None where they lead nowhere."""
        left, done, links = path.strip("/").split("/")[::-1], "", 0
        entry: Entry | None = None
        while left:
            name = left.pop()
            if name in ("", "."):
                continue
            if name == "..":
                done = done.rpartition("/")[0]
                continue
            entry = self.get(f"{done}/{name}")
            if entry is None:
                return None
            if entry.kind == "link":
                links += 1
                if links > _MAX_LINKS:
                    return None
                done = "" if entry.target.startswith("/") else done
                left += entry.target.split("/")[::-1]
            else:
                done = f"{done}/{name}"
        entry = self.get(done)
        return None if entry is None else (done, entry)

    def _node(self, path: str) -> "_Node | None":
        node = self._root
        for name in path.split("/") if path else ():
            found = node.children.get(name)
            if found is None:
                return None
            node = found
        return node


@dataclasses.dataclass
class _Node:
    entry: Entry
    children: dict[str, "_Node"]


def read(saved: Path, visit: Visit) -> tuple[Tree, list[Entry], bytes]:
    """The tree, every entry of every layer (removals too), and the image's configuration.

    `saved` is what `docker save` writes. Raises `MalformedImageError`.
    """
    tree, entries = Tree(), []
    try:
        with tarfile.open(saved, "r:") as outer:
            manifest = json.loads(_metadata(outer, "manifest.json"))[0]
            config = _metadata(outer, manifest["Config"])
            for number, name in enumerate(manifest["Layers"]):
                for entry in _layer(outer, name, number, visit):
                    if len(entries) >= MAX_ENTRIES:
                        raise MalformedImageError(f"an image of more than {MAX_ENTRIES:,} files")
                    entries.append(entry)
                    if entry.path.endswith(_OPAQUE):
                        tree.clear(entry.path.rpartition("/")[0])
                    else:
                        tree.put(entry)
    except (tarfile.TarError, ValueError, KeyError, IndexError, TypeError, EOFError) as error:
        raise MalformedImageError(f"the saved image cannot be read: {error!r}") from error
    return tree, entries, config


def _metadata(outer: tarfile.TarFile, name: str) -> bytes:
    content = outer.extractfile(name)
    if content is None:
        raise MalformedImageError(f"{name} of the saved image is no file")
    return content.read(_MAX_METADATA)


def _layer(outer: tarfile.TarFile, name: str, number: int, visit: Visit) -> Iterator[Entry]:
    """Entries of one layer; a layer equal to another is a link to it."""
    content = outer.extractfile(name)
    if content is None:
        raise MalformedImageError(f"layer {number} of the saved image is no file")
    # Newer daemons compress layers; without the colon tarfile would not recognize that.
    files: dict[str, Entry] = {}
    with content, tarfile.open(fileobj=content, mode="r:*") as layer:
        for member in layer:
            path = member.name.removeprefix("./").strip("/")
            if not path or path == ".":
                continue
            if path.count("/") > _MAX_DEPTH:
                raise MalformedImageError(f"layer {number} has folders too deep to read")
            entry = _entry(member, path, number, files)
            if entry.kind == "file" and not member.islnk():
                data = layer.extractfile(member)
                if data is not None:
                    with data:
                        entry.note = visit(entry, data)
                files[path] = entry
            yield entry
            # The list of members would grow with the layer.
            layer.members = []  # pyright: ignore[reportAttributeAccessIssue] -- tarfile's own


def _entry(member: tarfile.TarInfo, path: str, number: int, files: dict[str, Entry]) -> Entry:
    folder, _, name = path.rpartition("/")
    if name.startswith(_WHITEOUT) and name != _OPAQUE:
        gone = f"{folder}/{name.removeprefix(_WHITEOUT)}".lstrip("/")
        return Entry(gone, "removed", number)
    if member.islnk():
        other = files.get(member.linkname.removeprefix("./").strip("/"))
        if other is None:
            return Entry(path, "other", number)
        return dataclasses.replace(other, path=path)
    if member.isdir():
        return Entry(path, "folder", number)
    if member.issym():
        return Entry(path, "link", number, target=member.linkname)
    return Entry(path, "file" if member.isreg() else "other", number, member.size)


def shared(image: Sequence[str], parent: Sequence[str]) -> int:
    """How many layers an image has in common with one it is made from."""
    count = 0
    for own, other in zip(image, parent, strict=False):
        if own != other:
            break
        count += 1
    return count
