"""The measure check: the repository's benchmarks at base and with the real patch, in turns.

Two containers of the same image, one for each state, both built again by the image's own script;
the patch is an input of one of them and in no image. It does not gate a container. What the times
mean is for `speedups`.
"""

import dataclasses
import math
import re
import threading
import time
from collections.abc import Mapping, Sequence

from fc_assets import causes
from fc_assets.candidate_containers import checks, speedups, stock
from fc_assets.candidate_containers.speedups import Speedup, UnknownError, Verdict
from fc_assets.candidate_containers.stock import Candidate, Context, variables
from fc_assets.packages import asv_config
from fc_resources.docker import ROOT, Docker, Session
from fc_resources.git import Mirror
from fc_resources.git_diffs import Diff
from fc_resources.sandbox import Ended, Limits, Script

#: Of the time that is left: rounds of which one takes longer than the first must not end it all.
_SHARE_OF_TIME = 0.8
_APPLY = """\
set -euo pipefail
cd "$FC_ROOT/$FC_REPOSITORY"
git apply --whitespace=nowarn "$FC_INPUT/patch"
"""
#: Compilers look at times of files, and a patch may change a header that nothing is told to need.
_REBUILD = """\
set -euo pipefail
cd "$FC_ROOT/$FC_REPOSITORY"
git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [ ! -f "$file" ] || touch --no-create "$file"; done
exec bash "$FC_INPUT/docker_build_pkg.sh"
"""
_Times = list[dict[str, float]]
#: Two pull requests at once would disturb each other's times.
_ALONE = threading.Lock()


def measure(
    docker: Docker,
    image: str,
    candidate: Candidate,
    context: Context,
    mirror: Mirror,
    times: Mapping[str, float],
    limits: Limits,
) -> Verdict:
    """Measure within `limits.timeout_s` in all; `times` are the profile's, by benchmark.

    One pull request at a time in this process; waiting for its turn does not count.
    """
    with _ALONE:
        started = time.monotonic()
        deadline = started + limits.timeout_s
        try:
            patch = patch_of(candidate, mirror)
            # Who wrote the scripts must not say what differs from one state to the other.
            ours = context.scripts if context.origin in stock.OURS else stock.stock()
            script = ours["docker_build_pkg.sh"]
            if "FC_REBUILD" not in script:
                raise UnknownError("docker_build_pkg.sh cannot build again: it knows no FC_REBUILD")
            with docker.session(image, limits) as first, docker.session(image, limits) as second:
                states = [_State(session, candidate, deadline) for session in (first, second)]
                states[1].run("apply.sh", _APPLY, {"patch": patch}, "the patch does not apply")
                states[0].build(script, "base commit")
                states[1].build(script, "patched commit")
                found = Verdict.of(*_rounds(states, sorted(times), deadline))
        except UnknownError as error:
            found = Verdict("unknown", str(error))
        return dataclasses.replace(found, seconds=time.monotonic() - started)


def patch_of(candidate: Candidate, mirror: Mirror) -> bytes:
    """The solution's patch without benchmarks and ASV's configuration; `UnknownError` if empty."""
    diff = mirror.diffs([candidate.sha])[candidate.sha]
    if not isinstance(diff, Diff) or diff.patch is None:
        raise UnknownError(f"there is no patch: {'too large' if isinstance(diff, Diff) else diff}")
    path = candidate.asv_config or ""
    config = asv_config.parse(path, mirror.read(candidate.base_sha, path))
    kept = []
    for part in re.split(r"^(?=diff --git )", diff.patch, flags=re.MULTILINE):
        # Both names are the same: a rename is a removal and an addition here.
        names = part.partition("\n")[0].removeprefix("diff --git ")
        name = names[: len(names) // 2].strip('"').removeprefix("a/")
        if part and name != path and not name.startswith(f"{config.benchmark_dir}/"):
            kept.append(part)
    if not kept:
        raise UnknownError("the patch changes nothing but benchmarks")
    return "".join(kept).encode("utf-8", "surrogateescape")


@dataclasses.dataclass(frozen=True)
class _State:
    """A container with the package in one of its two states."""

    session: Session
    candidate: Candidate
    deadline: float

    def run(
        self,
        name: str,
        script: str,
        files: Mapping[str, bytes],
        failure: str | None = None,
        **more: str,
    ) -> Ended:
        """Run a script in the time that is left; `UnknownError` with `failure` if it fails."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise UnknownError("FC_MEASURE_TIMEOUT_S is over")
        given = variables(self.candidate, ROOT, "python") | more
        ended = self.session.run(Script(name, script, given, files), left)
        if ended.timed_out:
            raise UnknownError(f"{name} met FC_MEASURE_TIMEOUT_S")
        if ended.exceeded == "disk":
            raise UnknownError(f"{name} was {ended.how}")
        if failure is not None and not ended.ok:
            why = ended.how if ended.exceeded else causes.cause(ended.log)
            if outage := causes.outage(ended.log):
                why = f"it needs network, which it does not get ({outage})"
            raise UnknownError(f"{failure}: {why}")
        return ended

    def build(self, script: str, what: str) -> None:
        """Build all files again, with the script that made the image, without network."""
        files = {"docker_build_pkg.sh": script.encode()}
        failure = f"the {what} does not build again"
        self.run("rebuild.sh", _REBUILD, files, failure, FC_REBUILD="1")

    def round(self, benchmarks: Sequence[str]) -> dict[str, float]:
        """Seconds by benchmark and parameters; those that fail are not in it."""
        pattern = f"^({'|'.join(map(re.escape, benchmarks))})(\\(|$)"
        script = stock.text("measure.sh")
        ended = self.run("measure.sh", script, {}, FC_BENCHMARKS=pattern)
        return checks.finite_times(ended.output)


def _rounds(
    states: Sequence[_State], names: Sequence[str], deadline: float
) -> tuple[_Times, _Times]:
    """Times of every round, in the order base, patched, patched, base, and so on.

    The first round of each is no sample: it compiles Python files, and tells how long one takes and
    what it is worth to look at if there is no time for all.
    """
    benchmarks = list(dict.fromkeys(name.partition("[")[0] for name in names))
    started = time.monotonic()
    first = [state.round(benchmarks) for state in states]
    spent = time.monotonic() - started
    found = speedups.compare(first[:1], first[1:])
    left = (deadline - time.monotonic()) * _SHARE_OF_TIME
    needed = spent * speedups.rounds_for(len(found))
    benchmarks = _most_changed(found, left / needed if needed > left else 1)
    if not benchmarks:
        raise UnknownError("no benchmark gives times in both states within FC_MEASURE_TIMEOUT_S")
    times: tuple[_Times, _Times] = ([], [])
    for number in range(speedups.rounds_for(len(benchmarks))):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            times[which].append(states[which].round(benchmarks))
    return times


def _most_changed(found: Sequence[Speedup], share: float) -> list[str]:
    """A share of the benchmarks: those that seem to have changed most, for better or worse.

    Later rounds tell whether they did. Any others would leave out what a patch is about where a
    suite takes hours.
    """
    ordered = sorted(found, key=lambda one: (-abs(math.log(one.ratio)), one.benchmark))
    return sorted(one.benchmark for one in ordered[: int(len(ordered) * max(share, 0))])
