"""A Hugging Face Hub on loopback that the real huggingface_hub client talks to.

Dataset repositories with commits, tags and LFS files, as huggingface_hub 2.4 asks for them. Of xet
it only tells where the storage is, which may be a folder. What is wrong with a request is answered
as the Hub does: a token that may not, a card whose metadata is none, an LFS file that was not
uploaded, a parent that is not the newest. Faults are put in front.
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

import yaml

from tests.fakes.server import Handler, Server

TOKEN, READ_TOKEN = "hf_the_token_of_the_tests", "hf_one_that_may_only_read"
#: Whose tokens these are: where else they may not write.
OWNER = "o"
_METADATA = re.compile(r"\s*---[\r\n]+(.*?)[\r\n]+---(\r\n|\n|$)", re.DOTALL)
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

    def until(self, revision: str) -> list[Commit]:
        """A commit and those before it, newest first; none if there is no such commit."""
        revision = self.tags.get(revision, revision)
        if revision in ("main", "HEAD"):
            return self.commits[::-1]
        oids = [commit.oid for commit in self.commits]
        return self.commits[: oids.index(revision) + 1][::-1] if revision in oids else []


class FakeHub:
    """All repositories of a Hub; a context manager that serves while it is open."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        #: Bytes of LFS files that may be uploaded, by SHA-256.
        self.announced: dict[str, int] = {}
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
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            handler.say(status, {"error": "as told"}, named)
            return True

        self._faults += [(where, answer)] * times

    def lose(self, where: str) -> None:
        """Do what the next request that matches asks for, and hang up without an answer."""

        def lose(handler: "HubHandler", body: bytes) -> bool:
            handler.silent = True
            handler.serve(body)
            handler.close_connection = True
            return True

        self._faults.append((where, lose))

    def cut(self, where: str) -> None:
        """Hang up on the next request that matches, before anything is done."""

        def cut(handler: "HubHandler", _: bytes) -> bool:
            handler.close_connection = True
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


class _RefusedError(Exception):
    """What is answered instead: a status, why, and the Hub's name for it if it has one."""

    def __init__(self, status: int, why: str, code: str = "", **headers: str) -> None:
        self.status, self.body = status, {"error": why}
        self.headers = {"X-Error-Message": why, **headers} | (
            {"X-Error-Code": code} if code else {}
        )


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

    def say(self, status: int, content: object = b"", headers: Mapping[str, str] = {}) -> None:
        if self.silent:
            return
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        self.send_response(status)
        told = {"Content-Length": str(len(data)), "Content-Type": kind, **headers}
        for name, value in told.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def serve(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        asked = f"{self.command} {urllib.parse.unquote(path)}"
        try:
            if self._token not in (None, TOKEN, READ_TOKEN):
                raise _RefusedError(401, "Invalid credentials in Authorization header")
            for pattern, serve in _ROUTES:
                if found := re.fullmatch(pattern, asked):
                    with self._fake.lock:
                        serve(self, body, query, **found.groupdict())
                    return
            raise _RefusedError(404, "Sorry, we can't find the page you are looking for.")
        except _RefusedError as refused:
            self.say(refused.status, refused.body, refused.headers)

    @property
    def _token(self) -> str | None:
        given = self.headers.get("Authorization")
        return given and given.removeprefix("Bearer ")

    def _may_write(self, id: str) -> None:
        if self._token is None:
            raise _RefusedError(401, "Invalid username or password.")
        if self._token == READ_TOKEN:
            raise _RefusedError(403, "Forbidden: you must use a write token.")
        if not id.startswith(f"{OWNER}/"):
            raise _RefusedError(403, "You don't have the rights to do this in the namespace")

    def _known(self, id: str, *, write: bool = False) -> Repository:
        """The repository if there is one for this token."""
        repository = self._fake.repositories.get(id)
        if repository is None or (repository.private and self._token is None):
            status = 401 if self._token is None else 404
            raise _RefusedError(status, "Repository not found", "RepoNotFound")
        if write:
            self._may_write(id)
        return repository

    def _until(self, id: str, rev: str, *, write: bool = False) -> list[Commit]:
        """A commit and those before it."""
        found = self._known(id, write=write).until(rev)
        if not found:
            raise _RefusedError(404, f"Invalid rev id: {rev}", "RevisionNotFound")
        return found

    def create(self, body: bytes, _: str) -> None:
        asked = json.loads(body)
        name = f"{asked.get('organization') or OWNER}/{asked['name']}"
        self._may_write(name)
        if asked.get("type") != "dataset":
            raise _RefusedError(400, "only datasets are here")
        if name in self._fake.repositories:
            raise _RefusedError(409, "You already created this dataset repo")
        self._fake.repository(name, private=bool(asked.get("private")))
        self.say(200, {"url": f"{self._fake.url}/datasets/{name}", "name": name})

    def validate(self, body: bytes, _: str) -> None:
        errors = _card_errors(json.loads(body)["content"])
        told = [{"message": error} for error in errors]
        self.say(400 if errors else 200, {"errors": told, "warnings": []})

    def info(self, _: bytes, __: str, id: str, rev: str | None = None) -> None:
        commit = self._until(id, rev or "main")[0]
        told = {"_id": id, "id": id, "sha": commit.oid, "private": self._known(id).private}
        told |= {"tags": [], "downloads": 0, "likes": 0, "disabled": False, "gated": False}
        self.say(200, {**told, "siblings": [{"rfilename": path} for path in commit.files]})

    def refs(self, _: bytes, __: str, id: str) -> None:
        repository = self._known(id)
        tags = [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": oid}
            for name, oid in repository.tags.items()
        ]
        oid = repository.commits[-1].oid
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": oid}
        self.say(200, {"branches": [main], "tags": tags, "converts": []})

    def commits(self, _: bytes, __: str, id: str, rev: str) -> None:
        told = {"authors": [{"user": OWNER}], "date": "2026-01-01T00:00:00.000Z", "message": ""}
        self.say(200, [{**told, "id": c.oid, "title": c.message} for c in self._until(id, rev)])

    def preupload(self, body: bytes, _: str, id: str, rev: str) -> None:
        files = self._until(id, rev, write=True)[0].files
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
        self._known(id, write=True)
        objects = []
        for asked in json.loads(body)["objects"]:
            oid, told = asked["oid"], {"oid": asked["oid"], "size": asked["size"]}
            if oid not in self._fake.objects:
                self._fake.announced[oid] = asked["size"]
                href = f"{self._fake.storage}/lfs/{oid}"
                verify = f"{self._fake.url}/lfs-verify"
                told["actions"] = {"upload": {"href": href}, "verify": {"href": verify}}
            objects.append(told)
        self.say(200, {"transfer": "basic", "objects": objects})

    def upload(self, body: bytes, _: str, oid: str) -> None:
        if (hashlib.sha256(body).hexdigest(), len(body)) != (oid, self._fake.announced.get(oid)):
            raise _RefusedError(403, "not what was announced")
        self._fake.objects[oid] = body
        self.say(200)

    def verify(self, body: bytes, _: str) -> None:
        asked = json.loads(body)
        there = len(self._fake.objects.get(asked["oid"], b"")) == asked["size"]
        self.say(200 if there else 404, {})

    def commit(self, body: bytes, _: str, id: str, rev: str) -> None:
        repository = self._known(id, write=True)
        (header, *lines) = [json.loads(line) for line in body.splitlines()]
        head = repository.commits[-1]
        if header["value"].get("parentCommit", head.oid) != head.oid:
            raise _RefusedError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(head.files)
        for line in lines:
            value: Any = line["value"]
            if line["key"] == "deletedFile":
                if files.pop(value["path"], None) is None:
                    raise _RefusedError(404, f"{value['path']} is not there", "EntryNotFound")
            elif line["key"] == "lfsFile":
                files[value["path"]] = File(self._uploaded(value["oid"], value["size"]), True)
            else:
                content = base64.b64decode(value["content"])
                if value["path"] == "README.md" and (errors := _card_errors(content.decode())):
                    raise _RefusedError(400, errors[0])
                files[value["path"]] = File(content, False)
        made = repository.commit(header["value"]["summary"], files)
        url = f"{self._fake.url}/datasets/{id}/commit/{made.oid}"
        self.say(200, {"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})

    def _uploaded(self, oid: str, size: int) -> bytes:
        content = self._fake.objects.get(oid)
        if oid in self._fake.xet:
            _, content = self._fake.xet[oid]
        if content is None or len(content) != size:
            raise _RefusedError(400, "Your push was rejected: an LFS pointer to a file that is not")
        return content

    def tag(self, body: bytes, _: str, id: str, rev: str) -> None:
        tags, name = self._known(id, write=True).tags, json.loads(body)["tag"]
        if name in tags:
            raise _RefusedError(409, f"Tag {name} already exists")
        tags[name] = self._until(id, rev)[0].oid
        self.say(200, {})

    def tree(self, _: bytes, query: str, id: str, rev: str, path: str | None = None) -> None:
        deep = "recursive=true" in query.lower()
        entries = _entries(self._until(id, rev)[0].files, path or "", deep)
        if path and not entries:
            raise _RefusedError(404, f"{path} is not there", "EntryNotFound")
        self.say(200, entries)

    def resolve(self, _: bytes, __: str, id: str, rev: str, path: str) -> None:
        commit = self._until(id, rev)[0]
        file, headers = commit.files.get(path), {"X-Repo-Commit": commit.oid}
        if file is None:
            raise _RefusedError(404, "Entry not found", "EntryNotFound", **headers)
        headers["ETag"] = f'"{file.oid}"'
        if not file.lfs:
            self.say(200, file.content, headers)
            return
        headers |= {"X-Linked-Etag": f'"{file.oid}"', "X-Linked-Size": str(len(file.content))}
        if file.oid in self._fake.xet:
            headers["X-Xet-Hash"] = self._fake.xet[file.oid][0]
            route = f"/api/datasets/{id}/xet-read-token/{commit.oid}"
            headers["X-Xet-Refresh-Route"] = f"{self._fake.url}{route}"
        self.say(302, b"", {**headers, "Location": f"{self._fake.storage}/lfs/{file.oid}"})

    def xet_token(self, _: bytes, __: str, id: str, kind: str, rev: str) -> None:
        self._known(id, write=kind == "write")
        place, until = f"local://{self._fake.xet_folder}", int(time.time()) + 3600
        headers = {"X-Xet-Cas-Url": place, "X-Xet-Token-Expiration": str(until)}
        told = {"casUrl": place, "exp": until, "accessToken": "xet"}
        self.say(200, told, {**headers, "X-Xet-Access-Token": "xet"})

    def download(self, _: bytes, __: str, oid: str) -> None:
        data = self._fake.objects.get(oid)
        if data is None:
            raise _RefusedError(404, "no such object")
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
            place = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
            self.say(206, data[first : last + 1], place)
        else:
            self.say(200, data, {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"})


def _card_errors(card: str) -> list[str]:
    """What is wrong with the metadata of a `README.md`; it may have none."""
    block = _METADATA.match(card)
    try:
        told = yaml.safe_load(block[1]) if block else {}
    except yaml.YAMLError as error:
        return [f"invalid YAML: {error}"]
    if not isinstance(told, dict):
        return ["the metadata must be an object"]
    lists = ("tags", "language", "configs")
    errors = [f'"{n}" must be an array' for n in lists if not isinstance(told.get(n, []), list)]
    if told.get("license", "other") not in ("apache-2.0", "mit", "bsd-3-clause", "other"):
        errors.append('"license" must be one of [apache-2.0, mit, bsd-3-clause, other]')
    configs = [] if errors else told.get("configs", [])
    if len({config["config_name"] for config in configs}) != len(configs):
        errors.append('"configs" must have different names')
    if not all(config.get("data_files") for config in configs):
        errors.append('"configs" must have data_files')
    return errors


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
    (f"GET {_API}/commits/(?P<rev>.+)", HubHandler.commits),
    (f"POST {_API}/preupload/(?P<rev>.+)", HubHandler.preupload),
    (f"POST {_API}/commit/(?P<rev>.+)", HubHandler.commit),
    (f"POST {_API}/tag/(?P<rev>.+)", HubHandler.tag),
    (rf"GET {_API}/tree/(?P<rev>[^/]+)(/(?P<path>.*))?", HubHandler.tree),
    (rf"POST /datasets/{_ID}\.git/info/lfs/objects/batch", HubHandler.batch),
    ("PUT /lfs/(?P<oid>[0-9a-f]{64})", HubHandler.upload),
    ("(GET|HEAD) /lfs/(?P<oid>[0-9a-f]{64})", HubHandler.download),
    ("POST /lfs-verify", HubHandler.verify),
    (rf"(GET|HEAD) /datasets/{_ID}/resolve/(?P<rev>[^/]+)/(?P<path>.+)", HubHandler.resolve),
]
