"""What answers `./verify`: a Unix socket in the workspace, served by threads of the host.

Nothing is read from the socket, so that nothing can be said through it: whoever connects is told
how the scripts that lie there now fare. What it means to pass is the caller's.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

Verify = Callable[[Mapping[str, str]], tuple[bool, str]]

#: The most of a report that is told, in characters: its end says what failed.
REPORT_LIMIT = 30_000
#: Silence after which a waiting client is told that it waits, in seconds.
_BEAT_S = 10.0
#: Clients at a time; more are hung up on.
_MOST_CLIENTS = 16
_SEND_S = 5.0


class Verifier:
    """A context manager that answers at `path`, one verification at a time.

    The same scripts are verified once. An error of `verify` is kept in `error`, the client is
    told that there is no answer, and nothing more is verified. `passed` is set once scripts have
    passed, `failed` with `error`.
    """

    def __init__(self, path: Path, scripts: Callable[[], dict[str, str]], verify: Verify) -> None:
        self.error: BaseException | None = None
        self.failed, self.passed = threading.Event(), threading.Event()
        self._path, self._scripts, self._verify = path, scripts, verify
        self._known: dict[str, tuple[bool, str]] = {}
        self._one = threading.Lock()
        self._clients = threading.Semaphore(_MOST_CLIENTS)
        self._socket = socket.socket(socket.AF_UNIX)
        self._ended = False

    def __enter__(self) -> "Verifier":
        # The path of a socket has at most 107 bytes; that of the caller's folder may have more.
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._socket.bind(f"/proc/self/fd/{folder}/{self._path.name}")
        finally:
            os.close(folder)
        self._socket.listen(_MOST_CLIENTS)
        self._thread = threading.Thread(target=self._serve, daemon=True, name="verifier")
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Begin no other verification, and wait for the one that runs: it has its own limits."""
        self._ended = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        self._one.acquire()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                if self._ended:
                    return
                time.sleep(0.1)
                continue
            if not self._clients.acquire(blocking=False):
                client.close()
                continue
            try:
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()
            except RuntimeError:  # no more threads: the client may ask again
                client.close()
                self._clients.release()

    def _answer(self, client: socket.socket) -> None:
        try:
            # A client that is gone fails the next sign of life, and its turn is never taken.
            with contextlib.suppress(OSError), client:
                client.settimeout(_SEND_S)
                answer = self._answered(client)
                if answer is not None:
                    passed, report = answer
                    text = report[-REPORT_LIMIT:].encode("utf-8", "replace").decode()
                    told = {"passed": passed, "report": text}
                    client.sendall(f"{json.dumps(told)}\n".encode())
        finally:
            self._clients.release()

    def _answered(self, client: socket.socket) -> tuple[bool, str] | None:
        """What the scripts are worth; None when the session ends before that is known."""
        known = self._known.get(_key(self._scripts()))
        if known is not None:
            return known
        since = time.monotonic()
        while not self._one.acquire(timeout=_BEAT_S):
            self._beat(client, since)
        # Of the moment in which the turn comes: earlier ones may have been corrected by then.
        scripts = self._scripts()
        known = self._known.get(_key(scripts))
        if known is not None or self._ended or self.error is not None:
            self._one.release()
            return known
        worker = threading.Thread(target=self._work, args=(scripts,), daemon=True)
        try:
            worker.start()
        except RuntimeError:  # no more threads: the client may ask again
            self._one.release()
            return None
        while worker.is_alive():
            worker.join(_BEAT_S)
            if worker.is_alive():
                self._beat(client, since)
        return self._known.get(_key(scripts))

    def _work(self, scripts: Mapping[str, str]) -> None:
        """Verify, and leave the turn to the next one."""
        try:
            found = self._known[_key(scripts)] = self._verify(scripts)
            if found[0]:
                self.passed.set()
        except BaseException as error:
            self.error = error
            self.failed.set()
        finally:
            self._one.release()

    def _beat(self, client: socket.socket, since: float) -> None:
        client.sendall(f"# waiting for {time.monotonic() - since:.0f} s\n".encode())


def _key(scripts: Mapping[str, str]) -> str:
    return json.dumps(scripts, sort_keys=True)
