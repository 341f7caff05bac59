"""The checks that make a container verified, each seen to run and able to fail.

The host decides from exit codes and files it reads itself; a time-out is a failure. The checks that
need an image are `hygiene` and `measure`.
"""

import dataclasses
import json
import math
import posixpath
from collections.abc import Mapping
from typing import Any

from fc_assets.candidate_containers.stock import Candidate, Context, variables
from fc_resources.sandbox import Ended, Limits, Script, Workspace

_SMOKE = """\
set -eu
cd /
"$FC_ROOT/venv/bin/python" -c '
import importlib, os, sys
module = importlib.import_module(sys.argv[1])
print(os.path.realpath(module.__file__ or list(module.__path__)[0]))
' "$FC_IMPORT" > "$FC_OUTPUT/where"
"""


@dataclasses.dataclass(frozen=True)
class Check:
    """The outcome of one check: `passed`, `failed` or `not_run`, with what was seen.

    `seconds` is its wall time, None if it was not run.
    """

    check: str
    outcome: str
    evidence: str
    seconds: float | None = None


def smoke(
    workspace: Workspace, candidate: Candidate, module: str, limits: Limits
) -> tuple[Check, Ended]:
    """The package imports, and from the checkout."""
    given = variables(candidate, workspace.root, "") | {"FC_IMPORT": module}
    ended = workspace.run(Script("smoke.sh", _SMOKE, given), limits)
    if not ended.ok:
        return Check("smoke", "failed", ended.how), ended
    where = ended.output.get("where", b"").decode("utf-8", "replace").strip()
    checkout = posixpath.join(workspace.root, candidate.repo)
    inside = where.startswith(checkout + "/")
    evidence = f"{module} comes from {where}"
    return Check("smoke", "passed" if inside else "failed", evidence), ended


def profile(
    workspace: Workspace, candidate: Candidate, context: Context, limits: Limits
) -> tuple[Check, Ended, dict[str, float]]:
    """ASV finds benchmarks and at least one gives a finite time; seconds per benchmark."""
    given = variables(candidate, workspace.root, "")
    ended = workspace.run(Script("profile.sh", context.scripts["profile.sh"], given), limits)
    # Memory may have lacked for one benchmark of many, which then has no time.
    if ended.exceeded in ("time", "disk"):
        return Check("profile", "failed", ended.how), ended, {}
    times = finite_times(ended.output)
    evidence = f"{len(times)} benchmarks with a finite time, {ended.how}"
    return Check("profile", "passed" if times else "failed", evidence), ended, times


def finite_times(output: Mapping[str, bytes]) -> dict[str, float]:
    """Finite times in seconds from ASV's result files, by benchmark and parameters.

    Format: ASV's `benchmarks.json` and results of API version 2 (asv 0.6). Written by the code
    under test, so anything that does not have that shape counts as no time.
    """
    kinds = _json(output, "results/benchmarks.json")
    timed = {
        name
        for name, entry in kinds.items()
        if isinstance(entry, dict) and entry.get("unit") == "seconds"
    }
    times: dict[str, float] = {}
    for path in output:
        if path.startswith("results/container/") and not path.endswith("machine.json"):
            content = _json(output, path)
            columns, results = content.get("result_columns"), content.get("results")
            if isinstance(columns, list) and "result" in columns and isinstance(results, dict):
                for name in sorted(timed & results.keys()):
                    times |= _values(name, results[name], columns.index("result"))
    return times


def _values(name: str, row: Any, position: int) -> dict[str, float]:
    """Finite positive numbers of one benchmark, one per combination of its parameters."""
    cells = row[position] if isinstance(row, list) and position < len(row) else None
    if not isinstance(cells, list):
        return {}
    return {
        name if len(cells) == 1 else f"{name}[{index}]": float(cell)
        for index, cell in enumerate(cells)
        if isinstance(cell, int | float) and not isinstance(cell, bool)
        if math.isfinite(cell) and cell > 0
    }


def _json(output: Mapping[str, bytes], path: str) -> dict[str, Any]:
    try:
        content = json.loads(output.get(path, b"{}"))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
