"""Scripts as processes: inputs and outputs, what they see, limits; not whom to trust with it."""

import time
from pathlib import Path

import pytest

from fc_resources import process, process_sandbox
from fc_resources.errors import PermanentError
from fc_resources.process_sandbox import ProcessWorkspace
from fc_resources.sandbox import OUTPUT_LIMIT, Ended, Limits, Script

_LIMITS = Limits(timeout_s=60, memory="2g")


@pytest.fixture
def workspace(tmp_path: Path) -> ProcessWorkspace:
    workspace = ProcessWorkspace(tmp_path / "sandbox")
    workspace.clear()
    return workspace


def _run(workspace: ProcessWorkspace, content: str, limits: Limits = _LIMITS, **more) -> Ended:
    return workspace.run(Script("check.sh", content, **more), limits)


def test_a_script_has_its_files_and_variables_and_leaves_output(
    workspace: ProcessWorkspace,
) -> None:
    content = 'cat "$FC_INPUT/data"; mkdir $FC_OUTPUT/d; echo "$WORD" > $FC_OUTPUT/d/f; exit 4'
    ended = _run(workspace, content, variables={"WORD": "a b"}, files={"data": b"\xff"})
    assert (ended.name, ended.returncode, ended.ok) == ("check.sh", 4, False)
    assert ended.log == "\ufffd"
    assert ended.output == {"d/f": b"a b\n"}


def test_the_checkout_stays_between_scripts_and_input_and_output_do_not(
    workspace: ProcessWorkspace,
) -> None:
    _run(workspace, "echo 1 > kept; echo 1 > $FC_OUTPUT/o; echo 1 > $HOME/h", files={"i": b""})
    ended = _run(workspace, 'cat kept; ls "$FC_OUTPUT" "$HOME" "$FC_INPUT"; pwd')
    assert ended.log.split()[0] == "1"
    assert not {"o", "h", "i"} & set(ended.log.split())
    assert ended.log.split()[-1] == workspace.root
    assert ended.output == {}


def test_a_token_is_not_visible(
    workspace: ProcessWorkspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GH_TOKENS", "ghp_secret")
    monkeypatch.setenv("UV_INDEX_URL", "https://user:secret@index")
    ended = _run(workspace, "env; echo home=$HOME")
    assert "secret" not in ended.log
    assert f"home={tmp_path / 'sandbox' / 'home'}" in ended.log


def test_a_time_out_kills_grandchildren(workspace: ProcessWorkspace) -> None:
    content = "(sleep 600 & echo $! > $FC_OUTPUT/pid; wait) & wait"
    ended = _run(workspace, content, Limits(timeout_s=1, memory="2g"))
    assert (ended.exceeded, ended.timed_out, ended.ok) == ("time", True, False)
    pid = int(ended.output["pid"])
    deadline = time.monotonic() + 10
    while process.alive(pid) and ") Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(not process_sandbox.no_network(), reason="the kernel allows no namespaces")
def test_there_is_no_network_unless_asked_for(workspace: ProcessWorkspace) -> None:
    devices = Script("net.sh", "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '")
    assert workspace.run(devices, _LIMITS).log.split() == ["lo"]
    assert len(workspace.run(devices, _LIMITS, network=True).log.split()) > 1


@pytest.mark.skipif(not process_sandbox.limiter(_LIMITS), reason="prlimit is not installed")
def test_memory_is_limited(workspace: ProcessWorkspace) -> None:
    content = 'python3 -c "bytearray(300 << 20)"'
    assert _run(workspace, content).ok
    ended = _run(workspace, content, Limits(timeout_s=60, memory="200m"))
    assert "MemoryError" in ended.log


def test_the_end_of_a_long_log_is_kept(workspace: ProcessWorkspace) -> None:
    ended = _run(workspace, "seq 100000; echo the end")
    assert ended.log.endswith("100000\nthe end\n")
    assert len(ended.log) == 20_000


def test_too_much_output_is_an_error_and_not_a_part_of_it(workspace: ProcessWorkspace) -> None:
    with pytest.raises(PermanentError, match="64 MiB"):
        _run(workspace, f"echo a > $FC_OUTPUT/a; truncate -s {OUTPUT_LIMIT} $FC_OUTPUT/b")


def test_a_link_is_no_output(workspace: ProcessWorkspace, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    ended = _run(workspace, f"ln -s {tmp_path} $FC_OUTPUT/d; ln -s {tmp_path}/secret $FC_OUTPUT/f")
    assert ended.output == {}


def test_a_script_that_replaces_its_output_folder_by_a_link_gives_none(
    workspace: ProcessWorkspace, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret").write_text("s")
    ended = _run(workspace, f"rm -r $FC_OUTPUT; ln -s {tmp_path}/other $FC_OUTPUT")
    assert ended.output == {}
    assert _run(workspace, "echo 1 > $FC_OUTPUT/next").output == {"next": b"1\n"}
    assert [file.name for file in (tmp_path / "other").iterdir()] == ["secret"]


def test_it_can_be_removed(workspace: ProcessWorkspace, tmp_path: Path) -> None:
    _run(workspace, "mkdir d; touch d/f")
    workspace.remove()
    assert not (tmp_path / "sandbox").exists()


@pytest.mark.parametrize(("text", "size"), [("3k", 3 << 10), ("5m", 5 << 20), ("2g", 2 << 30)])
def test_memory_and_disk_are_written_like_docker_does(text: str, size: int) -> None:
    limits = Limits(1, memory=text, disk=text)
    assert (limits.memory_bytes, limits.disk_bytes) == (size, size)
