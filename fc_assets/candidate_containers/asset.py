"""The assets `candidate_containers` and `error_logs`: one item, rows in two tables."""

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from fc_assets import materialize, months, work
from fc_assets.candidate_containers import contexts, stock, toolbox
from fc_assets.candidate_containers.coder import Coder
from fc_assets.candidate_containers.contexts import Contexts
from fc_assets.candidate_containers.repairs import SYNTHESIZER
from fc_assets.candidate_containers.stock import Candidate
from fc_assets.candidate_containers.synthesizer import Synthesizer
from fc_assets.options import AGENTS, Options
from fc_assets.tables import CANDIDATE_CONTAINERS, ERROR_LOGS, FORMULACODE
from fc_resources.docker import Docker
from fc_resources.errors import TransientError
from fc_resources.git import Mirrors
from fc_resources.settings import Settings
from fc_resources.uv import Uv
from fc_resources.warehouse import Rows

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
    agent = options.coding_agent(settings)
    found = list(
        items(
            months.split(candidate_prs, wanted),
            months.split(packages, wanted),
            options.tasks_per_repo,
            settings,
            agent.name if agent else "none",
        )
    )
    candidates = [item.value for _, part in found for item in part]
    local = mirrors.with_local(options.git(settings))
    tools = toolbox.tools(settings, local, docker, uv, candidates)
    context.log.info(f"coding agent: {agent.name if agent else 'none'}")
    coder = Coder.of(agent, settings, runner.ledger) if agent else None
    synthesizer = Synthesizer(tools, working(runner, found), coder)
    outcome = materialize.run(
        context,
        runner,
        options,
        CANDIDATE_CONTAINERS,
        found,
        lambda candidate: synthesizer.synthesize(candidate).answer(),
        also=[ERROR_LOGS],
        settings=settings,
        concurrency=2,
    )
    if tools.builder.sandbox == "docker":
        try:
            docker.prune(int(settings.fc_image_gb * 2**30), unpublished(runner, wanted))
        except TransientError as error:  # what was verified is no worse for it
            context.log.warning(f"old images stay: {error}")
    return outcome.rows[CANDIDATE_CONTAINERS.name], outcome.rows[ERROR_LOGS.name]


def items(
    candidate_prs: Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]],
    packages: Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]],
    tasks_per_repo: int | None,
    settings: Settings,
    agent: str = "none",
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
            candidate = Candidate.of(row, environment)
            context = stock.context(row["owner"], row["repo"], settings.scripts)
            made_of = (vars(candidate), context.scripts, settings.verification, SYNTHESIZER)
            by_agent = {name: work.digest(*made_of, name) for name in AGENTS}
            digests = [*by_agent.values()]
            # Without an agent nothing is found that one did not find.
            as_good = digests if agent == "none" else ()
            key, digest = work.key_of(row), by_agent[agent]
            found.append(work.Item(key, candidate, digest, settled=digests, as_good=as_good))
        yield month, found


def unpublished(runner: work.Work, wanted: Sequence[datetime.date]) -> set[str]:
    """Images that stage 7 has not seen yet: of these months and of others."""
    states, table = runner.ledger.progress(), CANDIDATE_CONTAINERS
    found = {row["image"] for month in wanted for row in runner.rows(table, month)}
    others = [
        month
        for month in runner.warehouse.tables().get(table.name, {})
        if month not in wanted
        and getattr(states.get((FORMULACODE.name, month)), "state", None) != "written"
    ]
    if others:
        for batch in runner.warehouse.read(table.name, others, ["image"]):
            found |= {row["image"] for row in batch.to_pylist()}
    return found - {None}


def working(
    runner: work.Work, found: Sequence[tuple[datetime.date, Sequence[work.Item[Candidate]]]]
) -> Contexts:
    """What is known to work for the repositories of these items, of all months."""
    wanted = {(item.value.owner, item.value.repo) for _, items in found for item in items}
    table = CANDIDATE_CONTAINERS

    def rows() -> Iterator[Mapping[str, Any]]:
        written = runner.warehouse.tables().get(table.name)
        if written:
            for batch in runner.warehouse.read(table.name, sorted(written), contexts.COLUMNS):
                yield from batch.to_pylist()
        # What an earlier run found and could not write is in the ledger only.
        for month, _ in found:
            yield from runner.rows(table, month)

    return Contexts(row for row in rows() if (row["owner"], row["repo"]) in wanted)
