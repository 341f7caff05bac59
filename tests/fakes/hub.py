"""A Hugging Face Hub on loopback that the real huggingface_hub client talks to.

Dataset repositories with commits, tags and LFS files, as huggingface_hub 2.4 asks for them. Of xet
it only tells where the storage is, which may be a folder. What is wrong with a request is answered
as the Hub does, and faults are put in front.
"""

import base64
import dataclasses
import hashlib
import json
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, Self

from tests.fakes.server import Handler, Server

TOKEN = "hf_the_token_of_the_tests"
#: Called with the handler and its body; true if it answered or hung up.
Fault = Callable[["HubHandler", bytes], bool]


@dataclasses.dataclass(frozen=True)
class File:
    content: bytes
    lfs: bool

    @property
    def oid(self) -> str:
        """Git's name of the file, or the SHA-256 for LFS."""
        if self.lfs:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclasses.dataclass(frozen=True)
class Commit:
    oid: str
    message: str
    files: Mapping[str, File]


@dataclasses.dataclass
class Repository:
    private: bool = False
    commits: list[Commit] = dataclasses.field(default_factory=list)
    tags: dict[str, str] = dataclasses.field(default_factory=dict)

    def commit(self, message: str, files: Mapping[str, File]) -> Commit:
        told = repr((len(self.commits), message, sorted(files))).encode()
        self.commits.append(Commit(hashlib.sha1(told).hexdigest(), message, dict(files)))
        return self.commits[-1]

    def at(self, revision: str) -> Commit | None:
        revision = self.tags.get(revision, revision)
        if revision in ("main", "HEAD"):
            return self.commits[-1]
        return next((c for c in self.commits if c.oid == revision), None)


class FakeHub:
    """All repositories of a Hub; a context manager that serves while it is open."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        #: Where the xet storage is, and its names of contents by their SHA-256.
        self.xet_folder = ""
        self.xet: dict[str, tuple[str, bytes]] = {}
        self.requests: list[tuple[str, str]] = []
        #: Of requests for files in the storage, which is another origin and must not get a token.
        self.storage_tokens: set[str] = set()
        self.lock = threading.RLock()
        #: By `METHOD regex`, each used once, in order.
        self._faults: list[tuple[str, Fault]] = []
        self._server, self._storage = Server(HubHandler, self), Server(HubHandler, self)
        self.url, self.storage = self._server.url, self._storage.url

    def __enter__(self) -> Self:
        self._server.start("fake-hub")
        self._storage.start("fake-hub-storage")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        self._storage.stop()

    def repository(self, name: str, *, private: bool = False) -> Repository:
        """A new repository, as its owner would make it by hand."""
        made = self.repositories[name] = Repository(private)
        made.commit("initial commit", {".gitattributes": File(b"*.parquet filter=lfs\n", False)})
        return made

    def fail(self, where: str, status: int, times: int = 1, **headers: str) -> None:
        """Answer the next requests that match `METHOD regex` with an error."""

        def answer(handler: "HubHandler", _: bytes) -> bool:
            handler.say(
                status, {"error": "as told"}, {k.replace("_", "-"): headers[k] for k in headers}
            )
            return True

        self._faults += [(where, answer)] * times

    def lose(self, where: str) -> None:
        """Do what the next request that matches asks for, and hang up without an answer."""

        def lose(handler: "HubHandler", body: bytes) -> bool:
            handler.silent = True
            handler.serve(body)
            handler.hang_up()
            return True

        self._faults.append((where, lose))

    def cut(self, where: str) -> None:
        """Hang up on the next request that matches, before anything is done."""

        def cut(handler: "HubHandler", _: bytes) -> bool:
            handler.hang_up()
            return True

        self._faults.append((where, cut))

    def before(self, where: str, act: Callable[[], object]) -> None:
        """Let something happen before the next request that matches is served."""

        def first(handler: "HubHandler", _: bytes) -> bool:
            act()
            return False

        self._faults.append((where, first))

    def fault(self, told: str) -> Fault | None:
        with self.lock:
            for index, (where, fault) in enumerate(self._faults):
                if re.match(where, told):
                    del self._faults[index]
                    return fault
        return None


class HubHandler(Handler):
    """Requests of one connection."""

    _fake: FakeHub
    silent = False

    def do_GET(self) -> None:
        self._begin()

    do_HEAD = do_POST = do_PUT = do_GET

    def _begin(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        path = urllib.parse.unquote(self.path.partition("?")[0])
        self._fake.requests.append((self.command, path))
        if path.startswith("/lfs/") and "Authorization" in self.headers:
            self._fake.storage_tokens.add(self.headers["Authorization"])
        fault = self._fake.fault(f"{self.command} {path}")
        if fault is None or not fault(self, body):
            self.serve(body)

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def hang_up(self) -> None:
        self.close_connection = True

    def say(self, status: int, content: object = b"", headers: Mapping[str, str] = {}) -> None:
        if self.silent:
            return
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(data)),
            "Content-Type": kind,
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _deny(self, status: int, code: str) -> None:
        self.say(status, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code})

    def serve(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        path = urllib.parse.unquote(path)
        token = self.headers.get("Authorization")
        if token not in (None, f"Bearer {TOKEN}"):
            why = "Invalid credentials in Authorization header"
            self.say(401, {"error": why}, {"X-Error-Message": why})
            return
        with self._fake.lock:
            for pattern, serve in _ROUTES:
                found = re.fullmatch(pattern, f"{self.command} {path}")
                if found:
                    serve(self, body, query, **found.groupdict())
                    return
        self._deny(404, "NotFound")

    def known(self, id: str, write: bool = False) -> Repository | None:
        """The repository if there is one for this token; otherwise it is denied."""
        repository = self._fake.repositories.get(id)
        signed = self.headers.get("Authorization") is not None
        if repository is None or (repository.private and not signed):
            self._deny(404 if signed else 401, "RepoNotFound")
            return None
        if write and not signed:
            self.say(401, {"error": "Unauthorized"}, {"X-Error-Message": "Unauthorized"})
            return None
        return repository

    def commit_of(self, id: str, rev: str) -> tuple[Repository, Commit] | None:
        repository = self.known(id)
        if repository is None:
            return None
        commit = repository.at(rev)
        if commit is None:
            self._deny(404, "RevisionNotFound")
            return None
        return repository, commit

    def create(self, body: bytes, _: str) -> None:
        asked = json.loads(body)
        name = (
            f"{asked['organization']}/{asked['name']}"
            if asked.get("organization")
            else asked["name"]
        )
        if self.headers.get("Authorization") is None:
            self.say(401, {"error": "Unauthorized"})
        elif name in self._fake.repositories:
            self.say(409, {"error": "You already created this dataset repo"})
        else:
            self._fake.repository(name, private=bool(asked.get("private")))
            self.say(200, {"url": f"{self._fake.url}/datasets/{name}", "name": name})

    def validate(self, body: bytes, _: str) -> None:
        content = json.loads(body)["content"]
        ok = content.startswith("---\n")
        self.say(200 if ok else 400, {"errors": [] if ok else [{"message": "no"}], "warnings": []})

    def info(self, _: bytes, __: str, id: str, rev: str | None = None) -> None:
        found = self.commit_of(id, rev or "main")
        if found:
            repository, commit = found
            told = {"_id": id, "id": id, "sha": commit.oid, "private": repository.private}
            told |= {"tags": [], "downloads": 0, "likes": 0, "disabled": False, "gated": False}
            told["siblings"] = [{"rfilename": path} for path in commit.files]
            self.say(200, told)

    def refs(self, _: bytes, __: str, id: str) -> None:
        repository = self.known(id)
        if repository:
            tags = [
                {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid}
                for name, oid in repository.tags.items()
            ]
            oid = repository.commits[-1].oid
            main = {"name": "main", "ref": "refs/heads/main", "targetCommit": oid}
            self.say(200, {"branches": [main], "tags": tags, "converts": []})

    def preupload(self, body: bytes, _: str, id: str, rev: str) -> None:
        found = self.commit_of(id, rev)
        if found:
            files = found[1].files
            modes = [
                {
                    "path": asked["path"],
                    "uploadMode": "lfs" if asked["path"].endswith(".parquet") else "regular",
                    "shouldIgnore": False,
                    "oid": files[asked["path"]].oid if asked["path"] in files else None,
                }
                for asked in json.loads(body)["files"]
            ]
            self.say(200, {"files": modes})

    def batch(self, body: bytes, _: str, id: str) -> None:
        if self.known(id, write=True):
            objects = []
            for asked in json.loads(body)["objects"]:
                oid, told = asked["oid"], {"oid": asked["oid"], "size": asked["size"]}
                if oid not in self._fake.objects:
                    href = f"{self._fake.storage}/lfs/{oid}"
                    verify = f"{self._fake.url}/lfs-verify"
                    told["actions"] = {"upload": {"href": href}, "verify": {"href": verify}}
                objects.append(told)
            self.say(200, {"transfer": "basic", "objects": objects})

    def upload(self, body: bytes, _: str, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            self.say(400, {"error": "another content"})
            return
        self._fake.objects[oid] = body
        self.say(200)

    def verify(self, body: bytes, _: str) -> None:
        asked = json.loads(body)
        there = len(self._fake.objects.get(asked["oid"], b"")) == asked["size"]
        self.say(200 if there else 404, {})

    def commit(self, body: bytes, _: str, id: str, rev: str) -> None:
        repository = self.known(id, write=True)
        if repository is None:
            return
        lines = [json.loads(line) for line in body.splitlines()]
        [header] = [line["value"] for line in lines if line["key"] == "header"]
        head = repository.commits[-1]
        if header.get("parentCommit", head.oid) != head.oid:
            self.say(412, {"error": "A commit has happened since. Please refresh and try again."})
            return
        files = dict(head.files)
        for line in lines:
            value: Any = line["value"]
            if line["key"] == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]), False)
            elif line["key"] == "lfsFile" and value["oid"] in self._fake.xet:
                files[value["path"]] = File(self._fake.xet[value["oid"]][1], True)
            elif line["key"] == "lfsFile":
                if value["oid"] not in self._fake.objects:
                    self.say(400, {"error": "the LFS object was never uploaded"})
                    return
                files[value["path"]] = File(self._fake.objects[value["oid"]], True)
            elif line["key"] == "deletedFile" and files.pop(value["path"], None) is None:
                self._deny(404, "EntryNotFound")
                return
        made = repository.commit(header["summary"], files)
        url = f"{self._fake.url}/datasets/{id}/commit/{made.oid}"
        self.say(200, {"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})

    def tag(self, body: bytes, _: str, id: str, rev: str) -> None:
        repository, name = self.known(id, write=True), json.loads(body)["tag"]
        if repository is None:
            return
        commit = repository.at(rev)
        if commit is None:
            self._deny(404, "RevisionNotFound")
        elif name in repository.tags:
            self.say(409, {"error": f"Tag {name} already exists"})
        else:
            repository.tags[name] = commit.oid
            self.say(200, {})

    def tree(self, _: bytes, query: str, id: str, rev: str, path: str | None = None) -> None:
        found = self.commit_of(id, rev)
        if found:
            deep = "recursive=true" in query.lower()
            entries = _entries(found[1].files, path or "", deep)
            if path and not entries:
                self._deny(404, "EntryNotFound")
            else:
                self.say(200, entries)

    def paths(self, body: bytes, _: str, id: str, rev: str) -> None:
        found = self.commit_of(id, rev)
        if found:
            text = body.decode()
            asked = json.loads(text) if text.startswith("{") else urllib.parse.parse_qs(text)
            every = {entry["path"]: entry for entry in _entries(found[1].files, "", True)}
            self.say(200, [every[path] for path in asked["paths"] if path in every])

    def resolve(self, _: bytes, __: str, id: str, rev: str, path: str) -> None:
        found = self.commit_of(id, rev)
        if found is None:
            return
        commit = found[1]
        file, headers = commit.files.get(path), {"X-Repo-Commit": commit.oid}
        if file is None:
            headers |= {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            self.say(404, {"error": "Entry not found"}, headers)
        elif file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.oid}"', "X-Linked-Size": str(len(file.content))}
            headers |= {"Location": f"{self._fake.storage}/lfs/{file.oid}", "ETag": f'"{file.oid}"'}
            if file.oid in self._fake.xet:
                headers["X-Xet-Hash"] = self._fake.xet[file.oid][0]
                route = f"/api/datasets/{id}/xet-read-token/{commit.oid}"
                headers["X-Xet-Refresh-Route"] = f"{self._fake.url}{route}"
            self.say(302, b"", headers)
        else:
            self.say(200, file.content, {**headers, "ETag": f'"{file.oid}"'})

    def xet_token(self, _: bytes, __: str, id: str, kind: str, rev: str) -> None:
        if self.known(id, write=kind == "write"):
            place, until = f"local://{self._fake.xet_folder}", int(time.time()) + 3600
            headers = {"X-Xet-Cas-Url": place, "X-Xet-Token-Expiration": str(until)}
            headers["X-Xet-Access-Token"] = "xet"
            told = {"casUrl": place, "exp": until, "accessToken": "xet"}
            self.say(200, told, headers)

    def download(self, _: bytes, __: str, oid: str) -> None:
        data = self._fake.objects.get(oid)
        if data is None:
            self.say(404)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
            place = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
            self.say(206, data[first : last + 1], place)
        else:
            self.say(200, data, {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"})


def _entries(files: Mapping[str, File], folder: str, deep: bool) -> list[dict[str, Any]]:
    """Files and folders below a folder as the Hub lists them."""
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    entries: dict[str, dict[str, Any]] = {}
    for path, file in sorted(files.items()):
        if not path.startswith(prefix):
            continue
        parts = path[len(prefix) :].split("/")
        for depth in range(1, len(parts)):
            name = prefix + "/".join(parts[:depth])
            oid = hashlib.sha1(name.encode()).hexdigest()
            if deep or depth == 1:
                entries[name] = {"type": "directory", "oid": oid, "size": 0, "path": name}
        if deep or len(parts) == 1:
            told = {"type": "file", "oid": file.oid[:40], "size": len(file.content), "path": path}
            if file.lfs:
                told["lfs"] = {"oid": file.oid, "size": len(file.content), "pointerSize": 130}
            entries[path] = told
    return list(entries.values())


_ID = r"(?P<id>[\w.-]+/[\w.-]+)"
_API = f"/api/datasets/{_ID}"
_ROUTES: list[tuple[str, Callable[..., None]]] = [
    ("POST /api/repos/create", HubHandler.create),
    ("POST /api/validate-yaml", HubHandler.validate),
    (f"GET {_API}", HubHandler.info),
    (f"GET {_API}/revision/(?P<rev>.+)", HubHandler.info),
    (f"GET {_API}/refs", HubHandler.refs),
    (f"GET {_API}/xet-(?P<kind>read|write)-token/(?P<rev>.+)", HubHandler.xet_token),
    (f"POST {_API}/preupload/(?P<rev>.+)", HubHandler.preupload),
    (f"POST {_API}/commit/(?P<rev>.+)", HubHandler.commit),
    (f"POST {_API}/tag/(?P<rev>.+)", HubHandler.tag),
    (rf"GET {_API}/tree/(?P<rev>[^/]+)(/(?P<path>.*))?", HubHandler.tree),
    (f"POST {_API}/paths-info/(?P<rev>.+)", HubHandler.paths),
    (rf"POST /datasets/{_ID}\.git/info/lfs/objects/batch", HubHandler.batch),
    ("PUT /lfs/(?P<oid>[0-9a-f]{64})", HubHandler.upload),
    ("(GET|HEAD) /lfs/(?P<oid>[0-9a-f]{64})", HubHandler.download),
    ("POST /lfs-verify", HubHandler.verify),
    (rf"(GET|HEAD) /datasets/{_ID}/resolve/(?P<rev>[^/]+)/(?P<path>.+)", HubHandler.resolve),
]
