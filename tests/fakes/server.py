"""The HTTP server below the fakes: loopback, a thread for each connection, no log.

What is answered, and everything about the API that is faked, is for the fakes.
"""

import functools
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Listens at `url` at once, and answers from `start` to `stop`."""

    request_queue_size = 128

    def __init__(self, handler: Callable[..., BaseHTTPRequestHandler], fake: object) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(handler, fake))
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def start(self, name: str) -> None:
        """Serve in a thread of that name."""
        serve = functools.partial(self.serve_forever, poll_interval=0.01)
        threading.Thread(target=serve, daemon=True, name=name).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up in tests of time-outs; that is no error of the server."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """A connection to a fake, which `Server` gives it first."""

    protocol_version = "HTTP/1.1"
    sys_version = ""
    disable_nagle_algorithm = True
    # Status, headers and the first of the body leave in one segment.
    wbufsize = -1

    def __init__(self, fake: Any, *connection: Any) -> None:
        self._fake = fake
        super().__init__(*connection)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tests look at the fake's `requests`."""
