"""The real uv against a package index on loopback: pins, cutoffs, and whose fault a failure is.

Which requirements are asked for, and in which order, is tested with `fc_assets.packages`.
"""

import threading
import time
from pathlib import Path

import pytest

from fc_resources.errors import TransientError, UnavailableError
from fc_resources.uv import Uv
from tests.fakes.package_index import Index, index

__all__ = ["index"]

_CUTOFF = "2021-06-01T00:00:00Z"
_LATER = "2021-06-01T00:00:01Z"


@pytest.fixture
def uv(tmp_path: Path) -> Uv:
    return Uv(tmp_path / "cache")


def test_requirements_become_exact_pins_of_all_that_is_needed(index: Index, uv: Uv) -> None:
    index.wheel("top", "1.0", "below>=2; python_version >= '3.8'")
    for version in ("1.0", "2.0", "2.1"):
        index.wheel("below", version)
    found = uv.pin(["top", "below<2.1"], "3.11", None)
    assert found.pins == ["below==2.0", "top==1.0"]
    assert uv.can_install(found.pins or [], "3.11")[0]


def test_what_cannot_be_satisfied_is_an_answer_with_its_reason(index: Index, uv: Uv) -> None:
    index.wheel("top", "1.500")
    for requirement in ("top>2", "missing"):
        found = uv.pin([requirement], "3.11", None)
        assert found.pins is None
        assert requirement.rstrip(">2") in found.reason
        assert "\n" not in found.reason


def test_pins_that_contradict_each_other_have_no_solution(index: Index, uv: Uv) -> None:
    index.wheel("one", "1.0", "shared<2")
    index.wheel("shared", "1.0")
    index.wheel("shared", "2.0")
    found = uv.pin(["one", "shared==2.0"], "3.11", None)
    assert found.pins is None
    assert "shared<2" in found.reason
    installs, log = uv.can_install(["one==1.0", "shared==2.0"], "3.11")
    assert not installs
    assert "shared<2" in log


def test_releases_after_the_cutoff_do_not_exist(index: Index, uv: Uv) -> None:
    index.wheel("some", "1.0")
    index.wheel("some", "2.0", uploaded=_LATER)
    index.wheel("young", "1.0", uploaded=_LATER)
    assert uv.pin(["some"], "3.11", _CUTOFF).pins == ["some==1.0"]
    assert uv.pin(["some"], "3.11", None).pins == ["some==2.0"]
    found = uv.pin(["young"], "3.11", _CUTOFF)
    assert found.pins is None
    assert _CUTOFF in found.reason


def test_a_yanked_release_is_used_only_where_it_is_asked_for(index: Index, uv: Uv) -> None:
    index.wheel("some", "1.0")
    index.wheel("some", "2.0", yanked="broken")
    index.wheel("all-bad", "1.0", yanked="worse")
    assert uv.pin(["some"], "3.11", None).pins == ["some==1.0"]
    exact = uv.pin(["some==2.0"], "3.11", None)
    assert exact.pins == ["some==2.0"]
    assert exact.yanked == ('some==2.0 is yanked (reason: "broken")',)
    found = uv.pin(["all-bad"], "3.11", None)
    assert found.pins is None
    assert "yanked (reason: worse)" in found.reason


def test_a_package_without_wheels_has_no_solution_and_the_reason_says_so(
    index: Index, uv: Uv
) -> None:
    index.sdist("source-only", "1.0")
    index.wheel("top", "1.0", "source-only")
    for requirement in ("source-only", "top"):
        found = uv.pin([requirement], "3.11", None)
        assert (found.pins, found.lacks_wheels) == (None, True)
        assert found.reason.startswith("a release has no wheel that fits, and nothing is built")


@pytest.mark.parametrize("tag", ["py3-none-win_amd64", "cp312-cp312-manylinux_2_17_x86_64"])
def test_a_wheel_for_another_platform_or_python_is_none(index: Index, uv: Uv, tag: str) -> None:
    index.wheel("some", "1.0", tag=tag)
    found = uv.pin(["some"], "3.11", None)
    assert (found.pins, found.lacks_wheels) == (None, True)
    assert not uv.can_install(["some==1.0"], "3.11")[0]


def test_newer_releases_without_a_wheel_are_told_and_others_are_not(index: Index, uv: Uv) -> None:
    index.wheel("source", "1.0")
    index.sdist("source", "2.0")
    index.wheel("windows", "1.0")
    index.wheel("windows", "2.0", tag="py3-none-win_amd64")
    index.wheel("held", "1.0", "below<2")
    index.wheel("below", "1.0")
    index.wheel("below", "2.0")
    index.wheel("late", "1.0")
    index.sdist("late", "2.0", uploaded=_LATER)
    requirements = ["source", "windows<2", "held", "late"]
    found = uv.pin(requirements, "3.11", _CUTOFF)
    pins = ["below==1.0", "held==1.0", "late==1.0", "source==1.0", "windows==1.0"]
    assert found.pins == pins
    assert uv.without_wheel(requirements, pins, "3.11", _CUTOFF) == ["source==2.0"]


def test_markers_are_those_of_the_target_and_not_of_this_machine(index: Index, uv: Uv) -> None:
    for name in ("for-linux", "for-windows", "for-mac", "for-new", "for-312"):
        index.wheel(name, "1.0")
    index.wheel(
        "top",
        "1.0",
        "for-windows; platform_system == 'Windows'",
        "for-linux; platform_system == 'Linux' and platform_machine == 'x86_64'",
        "for-mac; sys_platform == 'darwin'",
        "for-312; python_version == '3.12'",
        "for-new; python_full_version >= '3.12.4'",
    )
    pins = ["for-312==1.0", "for-linux==1.0", "for-new==1.0", "top==1.0"]
    assert uv.pin(["top"], "3.12", None).pins == pins
    assert uv.pin(["top"], "3.11", None).pins == ["for-linux==1.0", "top==1.0"]


def test_a_release_for_later_patches_of_a_minor_fits_it(index: Index, uv: Uv) -> None:
    index.wheel("some", "1.0", python=">=3.11.4")
    index.wheel("other", "1.0", python=">=3.12")
    assert uv.pin(["some"], "3.11", None).pins == ["some==1.0"]
    assert uv.pin(["other"], "3.11", None).pins is None


def test_extras_bring_what_they_need_and_a_circle_ends(index: Index, uv: Uv) -> None:
    needs = ("fast; extra == 'speed'", "top[speed]; extra == 'all'")
    index.wheel("top", "1.0", *needs, extras=("speed", "all"))
    index.wheel("fast", "1.0", "top[all]")
    assert uv.pin(["top"], "3.11", None).pins == ["top==1.0"]
    assert uv.pin(["top[all]"], "3.11", None).pins == ["fast==1.0", "top==1.0"]


def test_pins_that_lack_one_do_not_install(index: Index, uv: Uv) -> None:
    index.wheel("top", "1.0", "below")
    index.wheel("below", "1.0")
    installs, log = uv.can_install(["top==1.0"], "3.11")
    assert not installs
    assert log.endswith("not the pins, or not they alone: below==1.0")


@pytest.mark.parametrize("name", ["async-timeout", "dns-error", "connection-refused"])
def test_a_package_called_like_a_network_fault_is_none(index: Index, uv: Uv, name: str) -> None:
    index.wheel(name, "1.502")
    assert uv.pin([f"{name}>=2"], "3.11", None).pins is None
    assert not uv.can_install([f"{name}==2"], "3.11")[0]


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_an_index_that_refuses_or_fails_is_unavailable(index: Index, uv: Uv, status: int) -> None:
    index.wheel("some", "1.0")
    index.status = status
    with pytest.raises(UnavailableError):
        uv.pin(["some"], "3.11", None)
    index.status = 200
    assert uv.pin(["some"], "3.11", None).pins == ["some==1.0"]


def test_an_index_that_cannot_be_reached_is_unavailable_and_shows_no_password(
    uv: Uv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://me:very-secret@127.0.0.1:1/simple/")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(UnavailableError) as caught:
        uv.pin(["top"], "3.11", None)
    assert "very-secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_index_that_answers_too_late_is_unavailable(
    index: Index, uv: Uv, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.wheel("some", "1.0")
    index.delay_s = 20
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "1")
    with pytest.raises(UnavailableError):
        uv.pin(["some"], "3.11", None)


def test_a_resolution_that_takes_too_long_is_killed(index: Index, tmp_path: Path) -> None:
    index.wheel("some", "1.0")
    index.delay_s = 20
    started = time.monotonic()
    with pytest.raises(TransientError, match="took longer than 1 s"):
        Uv(tmp_path / "cache", timeout_s=1).pin(["some"], "3.11", None)
    assert time.monotonic() - started < 10


def test_a_users_variables_say_where_the_index_is_and_nothing_else(
    index: Index, uv: Uv, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    index.wheel("some", "1.0")
    index.wheel("some", "2.0")
    (tmp_path / "constraints").write_text("some<2\n")
    monkeypatch.setenv("UV_CONSTRAINT", str(tmp_path / "constraints"))
    monkeypatch.setenv("UV_EXCLUDE_NEWER", "2010-01-01")
    monkeypatch.setenv("UV_RESOLUTION", "lowest")
    assert uv.pin(["some"], "3.11", None).pins == ["some==2.0"]


def test_nothing_is_built(index: Index, uv: Uv, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "setup.py").write_text(f"open({str(index.marks / 'local')!r}, 'w')\n")
    assert uv.pin([f"source @ {source.as_uri()}"], "3.11", None).pins is None


def test_threads_share_a_cache(index: Index, uv: Uv) -> None:
    index.wheel("some", "1.0")
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(uv.pin(["some"], "3.11", None).pins))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [["some==1.0"]] * 8


def test_the_log_of_the_same_question_is_the_same(index: Index, uv: Uv) -> None:
    index.wheel("some", "1.0")
    assert uv.pin(["some"], "3.11", None) == uv.pin(["some"], "3.11", None)
    assert uv.can_install(["some==1.0"], "3.11") == uv.can_install(["some==1.0"], "3.11")


def test_its_version_is_known(uv: Uv) -> None:
    assert uv.version.count(".") == 2
