"""The assets `candidate_containers` and `error_logs`: one item, rows in two tables."""

import datetime
import functools
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa
import pydantic

from fc_assets import materialize, months, sample, work
from fc_assets.candidate_containers import stock, traces
from fc_assets.candidate_containers.build import Builder, DockerBuilder, ProcessBuilder
from fc_assets.candidate_containers.stock import Candidate
from fc_assets.candidate_containers.verify import Tools, verify
from fc_assets.options import Options
from fc_assets.tables import CANDIDATE_CONTAINERS, ERROR_LOGS
from fc_resources.docker import Docker
from fc_resources.errors import UnavailableError
from fc_resources.git import Mirrors
from fc_resources.sandbox import Limits
from fc_resources.settings import Settings
from fc_resources.uv import Uv
from fc_resources.warehouse import Rows

_log = logging.getLogger(__name__)

_PRS = ["partition_month", "owner", "repo", "issue_number", "merged_at", "merge_commit_sha"]
_ENVIRONMENT = [
    *("partition_month", "owner", "repo", "sha", "base_sha", "project_name", "project_root"),
    *("asv_config", "python_version", "pins", "system_packages", "reason"),
]


@dg.multi_asset(
    outs={
        table.name: dg.AssetOut(
            group_name="environments",
            owners=[materialize.OWNER],
            kinds={"python", "docker"},
            description=table.doc,
            metadata=materialize.metadata(table),
        )
        for table in (CANDIDATE_CONTAINERS, ERROR_LOGS)
    },
    partitions_def=materialize.MONTHS,
    backfill_policy=dg.BackfillPolicy.multi_run(1),
    ins={
        "candidate_prs": dg.AssetIn(metadata={"columns": _PRS}),
        "packages": dg.AssetIn(metadata={"columns": _ENVIRONMENT}),
    },
)
def containers(
    context: dg.AssetExecutionContext,
    candidate_prs: pa.RecordBatchReader,
    packages: pa.RecordBatchReader,
    runner: dg.ResourceParam[work.Work],
    settings: dg.ResourceParam[Settings],
    mirrors: dg.ResourceParam[Mirrors],
    docker: dg.ResourceParam[Docker],
    uv: dg.ResourceParam[Uv],
    options: dg.ResourceParam[Options],
) -> tuple[Rows, Rows]:
    wanted = materialize.wanted(context)
    found = list(
        items(
            months.split(candidate_prs, wanted),
            months.split(packages, wanted),
            options.tasks_per_repo,
            settings,
        )
    )
    tools = Tools(
        mirrors.with_local(options.git(settings)),
        builder(settings, docker, uv, [item.value for _, part in found for item in part]),
        settings.scripts,
        limits(settings, settings.fc_profile_timeout_s),
        secrets(settings),
        measuring(settings, [item.value for _, part in found for item in part]),
    )
    outcome = materialize.run(
        context,
        runner,
        options,
        CANDIDATE_CONTAINERS,
        found,
        functools.partial(verify, tools=tools),
        also=[ERROR_LOGS],
        settings=settings,
        concurrency=2,
    )
    return outcome.rows[CANDIDATE_CONTAINERS.name], outcome.rows[ERROR_LOGS.name]


def items(
    candidate_prs: Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]],
    packages: Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]],
    tasks_per_repo: int | None,
    settings: Settings,
) -> Iterator[tuple[datetime.date, list[work.Item[Candidate]]]]:
    """Candidates with an environment row, oldest merge first, at most so many per repository."""
    for (month, rows), (_, environments) in zip(candidate_prs, packages, strict=True):
        by_commit = {(e["owner"], e["repo"], e["sha"]): e for e in environments}
        taken: dict[tuple[str, str], int] = {}
        found = []
        for row in sorted(rows, key=lambda r: (r["merged_at"], work.key_of(r))):
            environment = by_commit.get((row["owner"], row["repo"], row["merge_commit_sha"]))
            name = (row["owner"], row["repo"])
            taken[name] = taken.get(name, 0) + 1
            if environment is None or (tasks_per_repo and taken[name] > tasks_per_repo):
                continue
            candidate = _candidate(row, environment)
            context = stock.context(row["owner"], row["repo"], settings.scripts)
            made_of = work.digest(vars(candidate), context.scripts, settings.verification)
            found.append(work.Item(work.key_of(row), candidate, made_of))
        yield month, found


def _candidate(row: Mapping[str, Any], environment: Mapping[str, Any]) -> Candidate:
    copied = ("owner", "repo", "sha", "base_sha", "project_name", "asv_config", "reason")
    return Candidate(
        **{name: environment[name] for name in copied},
        issue_number=row["issue_number"],
        project_root=environment["project_root"] or ".",
        python_version=environment["python_version"],
        pins=tuple(environment["pins"] or ()),
        system_packages=tuple(environment["system_packages"]),
    )


def secrets(settings: Settings) -> list[bytes]:
    """Every secret of the settings, as it must not be found in an image."""
    values = (getattr(settings, name) for name in type(settings).model_fields)
    hidden = [value for value in values if isinstance(value, pydantic.SecretStr)]
    words = (word for value in hidden for word in re.split(r"[\s,;]+", value.get_secret_value()))
    return traces.secrets(list(words))


def measuring(settings: Settings, candidates: Sequence[Candidate]) -> Limits | None:
    """Limits of measuring, if it is wanted; for the demo's sample only if that was asked for."""
    is_chosen = "fc_measure_timeout_s" in settings.model_fields_set
    if not is_chosen and all(sample.ships(c.owner, c.repo, c.sha) for c in candidates):
        return None
    seconds = settings.fc_measure_timeout_s
    return limits(settings, seconds) if seconds else None


def limits(settings: Settings, timeout_s: float) -> Limits:
    """What a script may use, with a wall-clock limit in seconds."""
    return Limits(timeout_s, settings.fc_memory, settings.fc_cpus, settings.fc_pids)


def builder(settings: Settings, docker: Docker, uv: Uv, candidates: Sequence[Candidate]) -> Builder:
    """Docker; without it the process sandbox, for the sample or whom the user trusts.

    Raises `UnavailableError` (one sentence) when neither may be used.
    """
    bounds = limits(settings, settings.fc_build_timeout_s)
    process = ProcessBuilder(settings.sandboxes, bounds)
    trusted = all(sample.ships(c.owner, c.repo, c.sha) for c in candidates)
    if settings.fc_sandbox == "process":
        if not trusted:
            _log.warning(
                "FC_SANDBOX=process: the code of these repositories runs on this machine as you, "
                "with your files in reach; do this only where nothing can be lost"
            )
        return process
    if settings.fc_sandbox != "none" and docker.answers():
        docker.sweep()
        return DockerBuilder(docker, settings.fc_base_image, uv.version, bounds)
    if settings.fc_sandbox == "auto" and trusted:
        return process
    raise UnavailableError(
        "no Docker daemon answers, and stages 6 and 7 need one: start Docker, or set "
        "FC_SANDBOX=process to run the code of these repositories on this machine as you"
    )
