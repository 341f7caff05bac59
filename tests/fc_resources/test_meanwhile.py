"""What is done while something else goes on: again and again, and not beyond its end."""

import threading

import pytest

from fc_resources import meanwhile


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_it_is_done_until_the_end_however_that_comes(error: type[BaseException] | None) -> None:
    times, begun = threading.Semaphore(0), threading.active_count()
    try:
        with meanwhile.every(0.001, times.release):
            assert times.acquire(timeout=60)
            assert times.acquire(timeout=60)
            if error:
                raise error
    except KeyboardInterrupt:
        pass
    assert threading.active_count() == begun


def test_a_long_interval_does_not_delay_the_end() -> None:
    times = threading.Semaphore(0)
    with meanwhile.every(86_400, times.release):
        pass
    assert not times.acquire(blocking=False)
