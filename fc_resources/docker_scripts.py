"""Scripts in a container: how they and their files get in, how their output comes out.

Which container that is and what it may use is `docker`'s.
"""

import contextlib
import io
import tarfile
from collections.abc import Sequence
from typing import Any

import docker.errors

from fc_resources.docker_errors import OutputTooLargeError
from fc_resources.sandbox import LOG_LIMIT, OUTPUT_LIMIT, Script

_INPUT, _OUTPUT = "/fc/input", "/fc/output"
#: What every script is given besides its own variables.
VARIABLES = {"FC_INPUT": _INPUT, "FC_OUTPUT": _OUTPUT}
#: Run scripts in order, name the one that fails, and leave no input behind in an image.
STEPS = """
code=0
rm -rf "$FC_OUTPUT"  # an image brings what its own scripts left
mkdir -p "$FC_OUTPUT"
for script in "$@"; do
    bash "$FC_INPUT/$script" || { code=$?; failed=$script; break; }
done
mkdir -p "$FC_OUTPUT"
[ "$code" = 0 ] || echo "$failed" > "$FC_OUTPUT/failed"
rm -rf "$FC_INPUT"
exit "$code"
"""
#: One script of a session; a log without end must not fill the disk.
STEP = f"""
rm -rf "$FC_OUTPUT"
mkdir -p "$FC_OUTPUT"
bash "$FC_INPUT/$0" 2>&1 | tail -c {LOG_LIMIT} > /fc/log
code=${{PIPESTATUS[0]}}
mv /fc/log "$FC_OUTPUT/log"
rm -rf "$FC_INPUT"
exit "$code"
"""


def archive(scripts: Sequence[Script]) -> bytes:
    """The inputs of scripts as an archive to unpack at `/`."""
    inputs = {script.name: script.content.encode() for script in scripts}
    for script in scripts:
        inputs |= script.files
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("fc", _INPUT[1:], _OUTPUT[1:]):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, content in inputs.items():
            entry = tarfile.TarInfo(f"{_INPUT[1:]}/{name}")
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def output(container: Any) -> dict[str, bytes]:
    """Regular files of the output folder, as data: nothing is unpacked onto the host."""
    try:
        stream, _ = container.get_archive(_OUTPUT)
    except docker.errors.NotFound:  # the script removed it
        return {}
    buffer = io.BytesIO()
    # Closed early, the daemon stops copying; else the container could not be removed.
    with contextlib.closing(stream):
        for chunk in stream:
            buffer.write(chunk)
            if buffer.tell() > OUTPUT_LIMIT:
                break
    if buffer.tell() > OUTPUT_LIMIT:
        raise OutputTooLargeError(f"a script left more than {OUTPUT_LIMIT >> 20} MiB of output")
    buffer.seek(0)
    files = {}
    with tarfile.open(fileobj=buffer) as archive:
        for entry in archive:
            content = archive.extractfile(entry) if entry.isfile() else None
            if content is not None:
                files[entry.name.partition("/")[2]] = content.read()
    return files


def text(log: bytes) -> str:
    """The end of a log that is kept."""
    return log.decode("utf-8", "replace")[-LOG_LIMIT:]
