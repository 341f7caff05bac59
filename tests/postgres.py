"""Debian's PostgreSQL on loopback with a password, once a session, and databases in it."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import Self

USER, PASSWORD = "tester", "the pass:word\\of the tests"
#: Outside PATH, by version; the newest is last.
_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: p.parts[-3])
#: Nothing has to survive a crash of the machine.
_OPTIONS = ("fsync=off", "full_page_writes=off", "max_connections=200", "logging_collector=off")


def lacks() -> str | None:
    """Why no server can be started on this machine; None if it can."""
    return None if _FOLDERS else "PostgreSQL is not installed"


class RealPostgres:
    """A server that keeps its port and its databases while it is down; a context manager.

    What it logs is in `log`; it ends with the process that started it.
    """

    host = "127.0.0.1"

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.log = self._folder / "log"
        with socket.socket() as free:
            free.bind((self.host, 0))
            self.port = free.getsockname()[1]
        self._numbers = itertools.count()
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        password = self._folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:  # it refuses to run as root
            for path in (self._folder, password):
                shutil.chown(path, "postgres", "postgres")
        self._run(
            *("initdb", "-D", self._folder / "data", "-U", USER, "--pwfile", password),
            *("-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"),
        )
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Returns when it answers."""
        options = [o for option in _OPTIONS for o in ("-c", option)]
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                [
                    *(
                        "setpriv",
                        "--pdeathsig",
                        "QUIT",
                        *self._as_user(),
                        self._program("postgres"),
                    ),
                    *("-D", self._folder / "data", "-h", self.host, "-p", str(self.port)),
                    *("-k", "", *options),
                ],
                stdout=log,
                stderr=log,
                cwd="/",
            )
        deadline = time.monotonic() + 60
        while self._ready() != 0:
            assert self._server.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """At once, as if it crashed: connections break, nothing is said to clients."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(60)
            self._server = None

    def database(self) -> str:
        """The name of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        self._run(
            *("createdb", "-h", self.host, "-p", str(self.port), "-U", USER, name),
            password=PASSWORD,
        )
        return name

    def ledger(self, password: str | None = PASSWORD) -> str:
        """The URL of a ledger in a new database."""
        given = "" if password is None else f":{urllib.parse.quote(password)}"
        return f"postgresql://{USER}{given}@{self.host}:{self.port}/{self.database()}"

    def _ready(self) -> int:
        command = [self._program("pg_isready"), "-q", "-h", self.host, "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode

    def _run(self, program: str, *arguments: object, password: str | None = None) -> None:
        command = ["setpriv", *self._as_user(), self._program(program), *map(str, arguments)]
        environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment, cwd="/"
        )
        assert done.returncode == 0, done.stderr

    def _program(self, name: str) -> Path:
        return _FOLDERS[-1].with_name(name)

    def _as_user(self) -> list[str]:
        if os.geteuid() != 0:
            return []
        return ["--reuid=postgres", "--regid=postgres", "--init-groups"]
