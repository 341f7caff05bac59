"""Ctrl-C and termination: once means stop starting items, twice means stop now.

Items poll `STOP`; what a stage does with finished items is `fc_assets.work`'s.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from fc_resources import process

STOP = threading.Event()
_at_exit: list[Callable[[], None]] = [process.kill_all]


def kill_with(function: Callable[[], None]) -> None:
    """Have `function` called when everything must stop now, such as removing containers."""
    if function not in _at_exit:
        _at_exit.append(function)


@contextlib.contextmanager
def graceful() -> Iterator[None]:
    """Handle SIGINT and SIGTERM for as long as it lasts; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.signal(s, _handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(number: int, frame: FrameType | None) -> None:
    if not STOP.is_set():
        STOP.set()
        sys.stderr.write("\nstopping: running items are finished first; press again to stop now\n")
        return
    for function in _at_exit:
        with contextlib.suppress(Exception):  # the process ends here whatever one of them says
            function()
    os._exit(128 + number)
