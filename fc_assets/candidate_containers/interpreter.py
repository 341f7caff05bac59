"""Whether the Python and ASV of an image are the ones that were asked for, and nothing runs before.

Read from the image's files only. What else must not be in an image is told by `traces`.
"""

import ast
import dataclasses
import hashlib
import posixpath
import re
import sys
from collections.abc import Iterator, Mapping

from fc_assets.candidate_containers import startup
from fc_assets.candidate_containers.traces import Note, text_of
from fc_resources.docker_layers import Entry, Tree

#: Their files are compared to those of the wheel.
PACKAGES = ("asv", "asv_runner")
#: Found first on the path, one of these would run instead of the real one.
_PROGRAMS = r"(ba|da)?sh|env|mkdir|cat|cp|rm|asv|python[\d.]*"
_LIBRARIES = r"ld-linux\S*|lib(c|m|rt|dl|pthread|python3\S*)[.-]\S*so\S*|lib(c|m|rt|dl)\.so\S*"
_SYSTEM = re.compile(
    rf"(usr/(local/)?)?((s?bin/({_PROGRAMS}))|(lib\w*/([^/]*-linux-gnu/)?({_LIBRARIES})))"
)
_LOADER = re.compile(
    r"etc/ld\.so\.(preload|conf)|etc/ld\.so\.conf\.d/.*|.*/pybuilddir\.txt|.*\._pth"
)
_STDLIB = re.compile(r"(.*/)?lib\w*/(python3\.\d+/(?!(site|dist)-packages/)|python3\d+\.zip)")
_CUSTOMIZE = re.compile(r"(.*/)?(site|user)customize(\.[^/]*)?(/.*)?")
_STARTUP = re.compile(
    r"(setuptools|meson_python|scikit_build_core)-(\d[0-9A-Za-z.!+]*)\.dist-info", re.IGNORECASE
)
_CONSOLE = """
import {first}
from asv.__main__ import main
if __name__ == "__main__":
"""
_ENTRY_POINTS = [
    """
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit(main())
""",
    """
    sys.argv[0] = re.sub(r"(-script\\.pyw|\\.exe)?$", "", sys.argv[0])
    sys.exit(main())
""",
    """
    if sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit(main())
""",
]


@dataclasses.dataclass(frozen=True)
class Reference:
    """Wheels as their index has them: the blob of every file, and texts of `startup.SOURCES`."""

    blobs: Mapping[str, str]
    sources: Mapping[str, str]

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> "Reference":
        blobs = {
            path: hashlib.sha1(b"blob %d\0" % len(text) + text, usedforsecurity=False).hexdigest()
            for path, text in files.items()
        }
        sources = {n: files[n].decode("utf-8", "replace") for n in startup.SOURCES if n in files}
        return cls(blobs, sources)


def startup_pins(tree: Tree, root: str) -> list[str]:
    """Pins, as installed, of what puts code of its own where Python runs it at its start.

    Which version a build took is its own affair; its files have to be those of a release.
    """
    site = _site(tree, root)
    found = (_STARTUP.fullmatch(name) for name in (tree.names(site) if site else ()))
    return sorted(f"{match[1]}=={match[2]}" for match in found if match)


def _site(tree: Tree, root: str) -> str | None:
    """The one site-packages of the environment."""
    folder = f"{root.strip('/')}/venv/lib"
    versions = [name for name in tree.names(folder) if re.fullmatch(r"python3\.\d+", name)]
    return f"{folder}/{versions[0]}/site-packages" if len(versions) == 1 else None


@dataclasses.dataclass(frozen=True)
class Installed:
    """The environment of an image: `untrusted` is the first layer that others' code could write."""

    tree: Tree
    entries: list[Entry]
    untrusted: int
    root: str
    checkout: str
    reference: Reference

    @property
    def _venv(self) -> str:
        return f"{self.root}/venv".strip("/")

    def findings(self, tracked: Mapping[str, str]) -> Iterator[str]:
        """What is wrong; `tracked` has the blobs of the base commit by path."""
        yield from self._system(tracked)
        yield from self._interpreter()
        site = _site(self.tree, self.root)
        if site is None:
            yield "the environment has no site-packages of its own"
            return
        yield from self._asv(site)
        yield from startup.findings(self.tree, site, self.reference.sources)

    def _system(self, tracked: Mapping[str, str]) -> Iterator[str]:
        inside = self.root.strip("/") + "/"
        for entry in self.entries:
            path = entry.path
            if entry.layer < self.untrusted or entry.kind == "folder":
                continue
            if _CUSTOMIZE.fullmatch(path) and not self._is_tracked(entry, tracked):
                yield f"{path} runs before anything else"
            if path.startswith(inside):
                continue
            if _STDLIB.match(path):
                yield f"{path} is in the standard library and not of the base image"
            elif _SYSTEM.fullmatch(path) or _LOADER.fullmatch(path):
                yield f"{path} is not the one of the base image"

    def _is_tracked(self, entry: Entry, tracked: Mapping[str, str]) -> bool:
        path = entry.path.removeprefix(self.checkout.strip("/") + "/")
        note = entry.note
        return isinstance(note, Note) and note.blob is not None and tracked.get(path) == note.blob

    def _interpreter(self) -> Iterator[str]:
        folder = f"{self._venv}/bin"
        names = [n for n in self.tree.names(folder) if re.fullmatch(r"python[\d.]*", n)]
        if "python" not in names:
            yield "the environment has no interpreter"
        homes = set()
        for name in names:
            found = self.tree.resolve(f"{folder}/{name}")
            if found is None or found[1].kind != "file" or found[1].layer >= self.untrusted:
                yield f"{folder}/{name} is not the interpreter of the base image"
                continue
            homes.add(posixpath.dirname(found[0]))
            link = self.tree.get(f"{folder}/{name}")
            if link is not None and link.target.startswith("/"):
                homes.add(posixpath.dirname(link.target))
        settings: dict[str, str] = {}
        for line in text_of(self.tree.get(f"{self._venv}/pyvenv.cfg")).splitlines():
            name, _, value = line.partition("=")
            settings[name.strip()] = value.strip()
        inside = settings.get("home", "").startswith(self.root)
        if settings.get("home") not in homes or inside:
            yield "pyvenv.cfg names another home than the interpreter's"
        if settings.get("include-system-site-packages", "false").lower() != "false":
            yield "pyvenv.cfg brings in the packages of the system"

    def _asv(self, site: str) -> Iterator[str]:
        folder = f"{self._venv}/bin"
        shadowing = sys.stdlib_module_names | {*PACKAGES}
        for name in self.tree.names(folder):
            module, dot, _ = name.partition(".")
            entry = self.tree.get(f"{folder}/{name}")
            plain = entry is not None and entry.kind == "file"
            importable = name.endswith((".py", ".pyc", ".so")) if plain else not dot
            if importable and module in shadowing and not name.startswith("python"):
                yield f"{folder}/{name} shadows the module {module}"
            if re.fullmatch(_PROGRAMS, name) and name != "asv" and not name.startswith("python"):
                yield f"{folder}/{name} shadows the program"
        script = self.tree.get(f"{folder}/asv")
        if not _is_entry_point(text_of(script), f"/{folder}/python"):
            yield f"{folder}/asv is not what the installer makes"
        for package in PACKAGES:
            yield from self._wheel(site, package)
        if "distutils-precedence.pth" in self.tree.names(site):
            yield from self._wheel(site, "_distutils_hack")
        for name in self.tree.names(site):
            if "asv_bench" in name.lower().replace("-", "_"):
                yield f"{site}/{name} is loaded into every benchmark by asv_runner"
            module, dot, _ = name.partition(".")
            if module in PACKAGES and dot and not re.search(r"\.(dist|egg)-info$", name):
                yield f"{site}/{name} shadows {module}"

    def _wheel(self, site: str, package: str) -> Iterator[str]:
        wanted = {p: b for p, b in self.reference.blobs.items() if p.startswith(f"{package}/")}
        if not wanted:
            yield f"there is no wheel of {package} to compare to"
        for path, entry in self.tree.below(f"{site}/{package}"):
            name = f"{package}/{path}"
            blob = entry.note.blob if isinstance(entry.note, Note) else None
            if entry.kind != "file" or blob is None or wanted.pop(name, None) != blob:
                yield f"{site}/{name} is not in the wheel, or another there"
        for name in wanted:
            yield f"{site}/{name} of the wheel is not there"


def _is_entry_point(text: str, python: str) -> bool:
    """Whether a console script is what uv, pip or virtualenv write for asv."""
    first, _, body = text.partition("\n")
    if not re.fullmatch(rf"#!{re.escape(python)}[\d.]*", first):
        return False
    try:
        found = ast.dump(ast.parse(body))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for entry_point in _ENTRY_POINTS:
        for first in ("sys", "re\nimport sys"):
            for module in ("asv.__main__", "asv.main"):
                known = _CONSOLE.format(first=first).replace("asv.__main__", module) + entry_point
                if ast.dump(ast.parse(known)) == found:
                    return True
    return False
