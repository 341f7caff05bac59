"""The jail of a coding agent: bubblewrap around a command line tool, and what is bound into it.

The kernel keeps the agent from the user's files, from every socket of the machine that lies in a
file, and from changing more than its scripts. The network is the machine's, for the agent has to
reach its model: what listens on loopback without a password, it can reach as well.
"""

import dataclasses
import functools
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fc_resources import process

#: Where things are inside; short, for the path of a Unix socket has at most 107 bytes.
WORKSPACE, HOME, PYTHON = "/workspace", "/home/agent", "/run/fc/python3"
#: The most that one file of the agent may have, and its tmpfs folders, which are memory.
FILE_BYTES = 64 * 1024 * 1024
_TMPFS_BYTES = 512 * 1024 * 1024
#: Certificates and name resolution. All of /etc/ssl would include private keys.
_ETC = (
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "gai.conf",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "pki/ca-trust/extracted",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/ca-bundle.pem",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
)
#: Passed on from the user's environment: a model behind a proxy is not reached without them, and
#: some tools tell the time of day at which a limit ends.
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_PASSED = ("TZ", *PROXIES)
_CERTIFICATES = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
_USERS = {
    "passwd": f"root:x:0:0::/root:/bin/sh\nagent:x:1000:1000::{HOME}:/bin/bash\n",
    "group": "root:x:0:\nagent:x:1000:\n",
}
_PROBE_S = 60
_PROGRAMS = ("bwrap", "prlimit", "choom")


@dataclasses.dataclass(frozen=True)
class Tool:
    """A program of the agent: its file, and what must be bound besides /usr to run it."""

    path: Path
    needs: tuple[Path, ...]


@functools.cache
def tool(name: str, path: str) -> Tool | None:
    """The program `name` on a PATH, with its package and the node it runs on; None without it."""
    found = shutil.which(name, path=path)
    if found is None:
        return None
    real = Path(found).resolve()
    needs = [_package(real)]
    node = shutil.which("node", path=path)
    if node is not None:
        needs.append(Path(node).resolve())
    return Tool(real, tuple(needs))


def _package(program: Path) -> Path:
    """The outermost `node_modules` around a program, else the program's own file."""
    for parent in reversed(program.parents):
        if parent.name == "node_modules":
            return parent
    return program


def command(place: Path, tool: Tool, variables: Mapping[str, str]) -> list[str]:
    """The command line that runs `tool` in `place`, a folder with `workspace` and `home`.

    What it starts, daemons too, dies with it, and it dies with the thread of the host that
    started it. `variables` are those of `environment`, which the process has to be given.
    """
    etc = place / "etc"
    etc.mkdir(exist_ok=True)
    for name, text in _USERS.items():
        (etc / name).write_text(text)
    workspace = place / "workspace"
    # Whoever takes all memory of the machine is to be the first that is killed for it.
    line = [program("choom"), "-n", "1000", "--"]
    line += [program("prlimit"), f"--fsize={FILE_BYTES}", "--core=0"]
    line += [program("bwrap"), *_ISOLATED, *_kernel(), *_system()]
    line += [part for name in _USERS for part in ("--ro-bind", str(etc / name), f"/etc/{name}")]
    python = Path(sys.executable).resolve()
    certificates = [Path(variables[name]) for name in _CERTIFICATES if name in variables]
    for needed in dict.fromkeys((*tool.needs, python, *_libraries(), *certificates)):
        if not needed.is_relative_to("/usr"):
            line += ["--ro-bind-try", str(needed), str(needed)]
    line += _hidden()
    line += ["--symlink", str(python), PYTHON]
    line += ["--bind", str(place / "home"), HOME, "--ro-bind", str(workspace), WORKSPACE]
    line += ["--bind", str(workspace / "scripts"), f"{WORKSPACE}/scripts", "--chdir", WORKSPACE]
    # bubblewrap's own tmpfs for / and /dev have no limit to their size.
    return [*line, "--remount-ro", "/", "--remount-ro", "/dev", "--", str(tool.path)]


def _libraries() -> list[Path]:
    """The interpreter's standard library and, where it has one, its shared library."""
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    base |= {"installed_base": sys.base_prefix, "installed_platbase": sys.base_exec_prefix}
    found = [Path(sysconfig.get_path(kind, vars=base)) for kind in ("stdlib", "platstdlib")]
    folder, name = (sysconfig.get_config_var(name) for name in ("LIBDIR", "INSTSONAME"))
    if folder and name and ".so" in name:
        found.append(Path(folder, name))
    return found


def _hidden() -> list[str]:
    """What else is installed lies in the standard library's folder."""
    line: list[str] = []
    for library in dict.fromkeys(_libraries()):
        for name in ("site-packages", "dist-packages"):
            path = library / name
            if path.is_dir() and not path.is_relative_to("/usr"):
                line += ["--size", "4096", "--tmpfs", str(path), "--remount-ro", str(path)]
    return line


def environment(tool: Tool, variables: Mapping[str, str]) -> dict[str, str]:
    """All variables that a tool sees: those of its own, and how to reach the network.

    They belong into the environment of the process: bubblewrap's `--setenv` would show a key to
    every user of the machine.
    """
    nodes = [str(needed.parent) for needed in tool.needs if needed.name == "node"]
    names = (*_PASSED, *_CERTIFICATES)
    return {
        "PATH": ":".join(dict.fromkeys(["/usr/local/bin", "/usr/bin", "/bin", *nodes])),
        "HOME": HOME,
        "USER": "agent",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        **{name: os.environ[name] for name in names if os.environ.get(name)},
        **variables,
    }


#: Neither capabilities nor a namespace in which the agent could have them: as root it could
#: otherwise mount the read-only folders anew. A session of its own keeps it from typing into the
#: user's terminal.
_ISOLATED = (
    *("--die-with-parent", "--new-session", "--cap-drop", "ALL"),
    *("--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000"),
    *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--proc", "/proc", "--dev", "/dev"),
    *("--size", str(_TMPFS_BYTES), "--tmpfs", "/tmp", "--size", str(_TMPFS_BYTES)),
    *("--tmpfs", "/run", "--size", str(_TMPFS_BYTES), "--tmpfs", "/dev/shm"),
)


def _kernel() -> list[str]:
    """Binds that make all of /proc but the processes read-only.

    Where the pipeline is root, its agents are root to the kernel, and who owns a file there may
    write it without any capability: `sys/kernel/core_pattern` names a program that root starts.
    """
    line: list[str] = []
    for entry in os.scandir("/proc"):
        processes = entry.name.isdigit() or entry.is_symlink()
        if not processes and (entry.is_dir() or entry.stat().st_mode & 0o222):
            line += ["--ro-bind", entry.path, entry.path]
    return line


def _system() -> list[str]:
    """Binds of the system's programs and libraries, and of as much of /etc as they need."""
    line = ["--ro-bind", "/usr", "/usr"]
    for folder in map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")):
        if folder.is_symlink():
            line += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.exists():
            line += ["--ro-bind", str(folder), str(folder)]
    for name in _ETC:
        line += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return line


@functools.cache
def program(name: str) -> str:
    """The absolute path of a program of the jail, as it was found first; its name without it."""
    found = shutil.which(name)
    return str(Path(found).absolute()) if found else name


def obstacle() -> str | None:
    """Why there can be no jail on this machine, in one sentence; None if there can."""
    try:
        return _obstacle()
    except OSError as error:  # not remembered
        return f"bubblewrap does not work here ({error})"


def unusable(tool: Tool) -> str | None:
    """Why a tool does not run in a jail, in one sentence; None if it does."""
    try:
        return _unusable(tool)
    except OSError as error:  # not remembered
        return f"{tool.path} does not run under bubblewrap ({error})"


@functools.cache
def _obstacle() -> str | None:
    for name in _PROGRAMS:
        if not Path(program(name)).is_absolute():
            return f"{name} is not installed, without which a coding agent would not be confined"
    failure = _failure(
        [program("bwrap"), *_ISOLATED, *_kernel(), *_system(), "true"], process.environment()
    )
    return failure and f"bubblewrap does not work here ({failure})"


@functools.cache
def _unusable(tool: Tool) -> str | None:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        (place / "workspace" / "scripts").mkdir(parents=True)
        (place / "home").mkdir()
        env = environment(tool, {})
        failure = _failure([*command(place, tool, env), "--version"], env)
    return failure and f"{tool.path} does not run under bubblewrap ({failure})"


def _failure(command: list[str], env: Mapping[str, str]) -> str | None:
    """What a command says when it fails, None if it does not; `OSError` if that is not known."""
    probe = process.run(command, timeout_s=_PROBE_S, env=env)
    if probe.timed_out:
        raise TimeoutError(f"no answer in {_PROBE_S} s")
    return None if probe.ok else " ".join(probe.text.split())[:200] or f"code {probe.returncode}"
