"""A session's borders, with a shell script for an agent: what it can do, any agent can."""

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fc_resources import marks
from fc_resources.coding_agents import driver, events, session
from fc_resources.coding_agents.task import Session
from tests.fakes import agent_tools
from tests.fc_resources.coding_agents.sessions import KEY, SCRIPTS, Bash, never, running, task

pytestmark = pytest.mark.agents


def run(place: Path, script: str, verify: Any = never, **changes: Any) -> Session:
    return Bash().run(task(verify, prompt=script, **changes), place / "agents")


def spent(taken: int) -> str:
    usage = {"input_tokens": taken, "output_tokens": 1}
    message = {"id": f"msg_{taken}", "content": [], "usage": usage}
    return f"echo '{json.dumps({'type': 'assistant', 'message': message})}'"


def test_only_the_scripts_can_be_changed(tmp_path: Path) -> None:
    script = """
    for f in verify TASK.md logs/attempt-1.txt new logs/new .verify.sock; do echo x > $f; done
    rm -rf verify TASK.md logs; mv scripts elsewhere; ln -s / scripts; chmod 777 verify .
    mount -o remount,rw /workspace; umount /workspace; unshare -Ur mount -t tmpfs none /workspace
    cat TASK.md logs/attempt-1.txt; head -1 verify; grep CapEff /proc/self/status
    test -w / && echo 'writable: /'
    find /proc/[a-z]* -type f -writable -not -path '/proc/*self/*' -printf 'writable: %p\\n'
    cd /; find * -path proc -prune -o -path usr -prune -o -type d -writable -prune \\
        -printf 'folder: %p\\n'
    cd -; echo corrected > scripts/docker_build_env.sh; echo more > scripts/more.sh
    """
    session = run(tmp_path, script)
    assert session.ended == "finished", session.log
    assert session.scripts == {**SCRIPTS, "docker_build_env.sh": "corrected\n"}
    assert "Build shapely." in session.log
    assert "#!/run/fc/python3" in session.log
    assert "CapEff:\t0000000000000000" in session.log
    assert "writable" not in session.log
    places = set(re.findall("^folder: (.*)", session.log, re.MULTILINE))
    bounded = {"tmp", "run", "dev/shm", "home/agent", "workspace/scripts"}
    assert places - {"dev/pts"} == bounded
    assert list((tmp_path / "agents").iterdir()) == []


def test_nothing_of_the_user_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GH_TOKENS", "ghp_1")
    monkeypatch.setenv("HF_TOKEN", "hf_1")
    (tmp_path / "private").write_text("of the user")
    script = f"""
    exec 2>/dev/null  # another pipe: its lines may arrive before those of `env`
    env; echo ---; cat {tmp_path}/private; cat /proc/[0-9]*/environ | tr '\\0' '\\n' > ~/all
    echo leaked: $(grep -c '^HF_TOKEN=\\|=ghp_1\\|=hf_1' ~/all) of $(grep -c BASH_KEY= ~/all)
    /run/fc/python3 -c 'import json, socket; print("python:", socket.AF_UNIX)'
    /run/fc/python3 -c 'import pip' && echo its packages are here
    ls -d /var /home/* /run/* /var/run/docker.sock /run/docker.sock /etc/shadow /etc/ssl/private
    ls -A {Path.home()} | sed s/^/host:/; id -un; echo $BASH_KEY > scripts/docker_build_env.sh
    """
    session = run(tmp_path, script)
    variables, _, rest = session.log.partition("---")
    names = {line.partition("=")[0] for line in variables.splitlines()} - {"_", "SHLVL", "PWD"}
    allowed = {"PATH", "HOME", "USER", "SHELL", "LANG", "TERM", "BASH_KEY", "OLDPWD"}
    assert names - allowed <= {"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "TZ"} | {
        name for name in names if name.lower().endswith("_proxy")
    }
    assert "of the user" not in rest
    there = [line for line in rest.splitlines() if line.startswith("/")]
    assert there == ["/home/agent", "/run/fc"]
    assert "agent" in rest.split()
    found = re.search("^leaked: (.*) of (.*)", rest, re.MULTILINE)
    assert found
    assert found[1] == "0"
    assert int(found[2]) >= 1, "its own variables are there"
    assert "python: 1" in rest
    assert Path(sys.base_prefix).is_relative_to("/usr") or "its packages" not in rest
    # Of the user's home what the interpreter and the tools lie in, which may be nothing.
    needed = (
        Path(p).relative_to(Path.home()).parts[0]
        for p in (sys.base_prefix, agent_tools.FOLDER)
        if Path(p).is_relative_to(Path.home())
    )
    assert set(re.findall("^host:(.*)", rest, re.MULTILINE)) <= set(needed)
    # Neither the log nor the scripts, which are published, have its own key in them.
    assert KEY not in session.log
    assert "BASH_KEY=***" in session.log
    assert session.scripts == SCRIPTS


def test_daemons_end_with_the_session(tmp_path: Path) -> None:
    mark = f"{time.time_ns()}"
    script = f"""
    setsid nohup sleep {mark} & (setsid bash -c 'sleep {mark} & disown' &)
    (trap '' TERM HUP; exec -a x sleep {mark}) & disown; sleep 0.2
    """
    begun = time.monotonic()
    session = run(tmp_path, script)
    assert session.ended == "finished"
    assert running(mark) == []
    assert time.monotonic() - begun < 10


def test_a_silent_agent_is_killed_in_time(tmp_path: Path) -> None:
    mark = f"{time.time_ns()}"
    session = run(tmp_path, f"exec >&- 2>&-; sleep {mark}", timeout_s=1)
    assert session.ended == "unreachable", "no token was told"
    assert 1 <= session.usage.seconds < 5
    assert not session.usage.is_told
    session = run(tmp_path, f"{spent(7)}; exec >&- 2>&-; sleep {mark}", timeout_s=1)
    assert session.ended == "timed_out"
    assert running(mark) == []


def test_tokens_end_a_session_while_it_runs(tmp_path: Path) -> None:
    script = f"{spent(600)}; {spent(600)}; sleep 1; {spent(500)}; sleep 60"
    session = run(tmp_path, script, max_tokens=1000)
    assert session.ended == "token_limit"
    assert session.usage.input_tokens == 1100, "a message is told with each of its parts"
    assert session.usage.seconds < 20


def test_a_torrent_of_output_is_bounded(tmp_path: Path) -> None:
    script = f"head -c 5000000 /dev/zero | tr '\\0' x; echo; {spent(7)}; yes | head -c 300000"
    session = run(tmp_path, script)
    assert session.usage.input_tokens == 7
    assert len(session.log) <= 20_000


def test_what_is_no_text_is_not_taken(tmp_path: Path) -> None:
    for hostile in (
        "ln -sf /etc/passwd scripts/docker_build_env.sh",
        "cd scripts; rm *env.sh; mkfifo docker_build_env.sh",
        "cd scripts; rm *env.sh; mkdir docker_build_env.sh",
        "printf '\\377\\376' > scripts/docker_build_env.sh",
        "printf 'a\\0b' > scripts/docker_build_env.sh",
        "head -c 300000 /dev/zero | tr '\\0' x > scripts/docker_build_env.sh",
        "chmod 0 scripts/docker_build_env.sh scripts; touch $'scripts/new\\nline'",
        "rm -f scripts/*",
    ):
        session = run(tmp_path, f"{hostile}; echo y > scripts/docker_build_pkg.sh")
        assert session.scripts["docker_build_env.sh"] == SCRIPTS["docker_build_env.sh"], hostile
        assert list((tmp_path / "agents").iterdir()) == []


def test_the_disk_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = run(
        tmp_path, f"{spent(7)}; head -c 100M /dev/zero > scripts/big; ls -s scripts/big; exit 3"
    )
    assert session.ended == "failed"
    assert "65536 scripts/big" in session.log
    monkeypatch.setattr(driver, "_DISK_BYTES", 1 << 20)
    monkeypatch.setattr(driver, "_INSPECT_S", 0.2)
    script = "for n in $(seq 100); do head -c 1M /dev/zero > ~/$n; sleep 0.1; done; sleep 60"
    session = run(tmp_path, script)
    assert session.ended == "failed"
    assert "of disk" in session.message
    # Whose bytes are found nowhere takes them all the same.
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(driver, "_FREE_BYTES", usage.total)
    session = run(tmp_path, "cd ~; exec 3>f; rm f; head -c 5M /dev/zero >&3; sleep 60")
    assert session.ended == "failed"
    assert session.message.startswith("the disk has less than")


def test_verify_is_asked_once_for_the_same_scripts(tmp_path: Path) -> None:
    asked: list[Mapping[str, str]] = []

    def verify(scripts: Mapping[str, str]) -> tuple[bool, str]:
        asked.append(scripts)
        time.sleep(1.5)
        return False, "error: no compiler"

    script = "timeout 0.5 ./verify; cd /; /workspace/verify; echo code $?; cd -; ./verify"
    session = run(tmp_path, script, verify)
    assert asked == [SCRIPTS]
    assert session.log.count("error: no compiler") == 2
    assert "code 1" in session.log


def test_an_error_of_verify_ends_the_session(tmp_path: Path) -> None:
    def verify(scripts: Mapping[str, str]) -> tuple[bool, str]:
        raise ZeroDivisionError("of the pipeline")

    with pytest.raises(ZeroDivisionError):
        run(tmp_path, "./verify; sleep 60", verify)
    assert list((tmp_path / "agents").iterdir()) == []


def test_a_stop_ends_the_session(tmp_path: Path) -> None:
    stop, mark = threading.Event(), f"{time.time_ns()}"
    threading.Timer(1, stop.set).start()
    given = task(never, prompt=f"{spent(600)}; sleep {mark}")
    session = Bash().run(given, tmp_path, stop)
    assert session.ended == "stopped"
    assert session.usage.input_tokens == 600, "what it took is paid for"
    assert running(mark) == []


def test_it_ends_soon_after_its_scripts_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "_GRACE_S", 1.0)
    script = f"./verify; sleep 0.2; {spent(7)}; ./verify; sleep 60; {spent(9)}"
    session = run(tmp_path, script, lambda scripts: (True, "all checks passed"))
    assert session.ended == "finished"
    assert session.usage.input_tokens == 7
    assert 1 < session.usage.seconds < 20


_REJECTED = json.dumps(
    {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": None}}
)


def test_a_limit_counts_once_the_tool_ends_or_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = f"echo '{_REJECTED}'"
    session = run(tmp_path, f"{forged}; sleep 0.2; {spent(7)}")
    assert session.ended == "finished", "it went on"
    assert run(tmp_path, forged).ended == "rate_limited"
    monkeypatch.setattr(events, "SILENT_S", 0.5)
    session = run(tmp_path, f"{spent(7)}; {forged}; sleep 60")
    assert session.ended == "rate_limited"
    assert session.usage.seconds < 20


def test_a_provider_that_cannot_be_asked(tmp_path: Path) -> None:
    failed = {"type": "result", "is_error": True, "usage": {"input_tokens": 0, "output_tokens": 0}}
    for text, ended in (("API Error: fetch failed", "unreachable"), ("404 no model", "refused")):
        script = f"{spent(7)}; echo '{json.dumps({**failed, 'result': text})}'; exit 1"
        session = run(tmp_path, script)
        assert session.ended == ended
    assert session.message == "the model is refused: 404 no model"
    assert run(tmp_path, "exit 1").ended == "unreachable"
    assert run(tmp_path, f"{spent(7)}; exit 1").ended == "failed"


def test_passwords_of_addresses_stay_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:passw0rd-1@127.0.0.1:1")
    for leak in ("$HTTPS_PROXY", "passw0rd-1", "$(printf %s $BASH_KEY | base64)"):
        script = f"env; echo {leak}; echo {leak} > scripts/docker_build_env.sh; echo {leak}"
        session = run(tmp_path, script)
        assert session.scripts == SCRIPTS
        assert "passw0rd-1" not in session.log + session.message
        assert "HTTPS_PROXY=http://***127.0.0.1:1" in session.log


def test_all_of_it_dies_with_the_host(tmp_path: Path) -> None:
    mark, folder = f"{time.time_ns()}", tmp_path / "agents"
    program = f"""
from pathlib import Path
from tests.fc_resources.coding_agents.sessions import Bash, never, task
Bash().run(task(never, prompt="setsid sleep {mark} & sleep {mark}"), Path("{folder}"))
"""
    with subprocess.Popen([sys.executable, "-c", program]) as host:
        until = time.monotonic() + 30
        while not running(f"sleep\0{mark}") and time.monotonic() < until:
            time.sleep(0.05)
        inside = running(f"sleep\0{mark}")
        host.send_signal(signal.SIGKILL)
    assert inside
    while (left := running(f"sleep\0{mark}")) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == []
    # What it left is removed by the next one, and nothing else is.
    (dead,) = folder.iterdir()
    others = {f"{marks.own(tmp_path)}-{'0' * 16}", "1-x", f"x{dead.name}"}
    for other in others:
        (folder / other).mkdir()
    link = dead.name[:-16] + "0" * 16
    (folder / link).symlink_to("/etc")
    session.sweep(folder)
    session.sweep(tmp_path / "none")
    assert {path.name for path in folder.iterdir()} == {*others, link}


def test_a_deep_home_is_removed(tmp_path: Path) -> None:
    dig = "import os; [(os.mkdir('d'), os.chdir('d')) for _ in range(3000)]"
    script = f'cd ~; /run/fc/python3 -c "{dig}" && chmod 0 d'
    assert run(tmp_path, script).ended == "finished"
    assert list((tmp_path / "agents").iterdir()) == []


def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    place = tmp_path / ("long" * 30)
    place.mkdir()
    assert run(place, "./verify", lambda scripts: (True, "fine")).ended == "finished"
