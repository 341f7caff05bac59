"""The assets `candidate_containers` and `error_logs`: one item, rows in two tables."""

import datetime
from collections.abc import Sequence

import dagster as dg
import pyarrow as pa

from fc_assets import fingerprint, materialize, months, work
from fc_assets.candidate_containers import items, toolbox
from fc_assets.candidate_containers.coder import Coder
from fc_assets.candidate_containers.search import Earlier
from fc_assets.candidate_containers.synthesizer import Synthesizer
from fc_assets.options import Options
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
            code_version=fingerprint.of("candidate_containers").version,
        )
        for table in (CANDIDATE_CONTAINERS, ERROR_LOGS)
    },
    partitions_def=materialize.MONTHS,
    pool="docker",
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
        items.items(
            months.split(candidate_prs, wanted),
            months.split(packages, wanted),
            settings,
            agent.name if agent else "none",
        )
    )
    candidates = [item.value for _, part in found for item in part]
    earlier: dict[str, Earlier] = {}
    queues = list(items.cascades(runner, found, options, settings, earlier))
    local = mirrors.with_local(options.git(settings))
    tools = toolbox.tools(settings, local, docker, uv, candidates)
    context.log.info(f"coding agent: {agent.name if agent else 'none'}")
    coder = Coder.of(agent, settings, runner.ledger) if agent else None
    # After what neighbours ask for: with whose scripts is to be found among these.
    near = [month for m in wanted for month in items.near(m, settings)]
    known = items.working(runner, candidates, near)
    synthesizer = Synthesizer(tools, known, coder)
    outcome = materialize.run(
        context,
        runner,
        options,
        CANDIDATE_CONTAINERS,
        queues,
        lambda candidate: synthesizer.synthesize(candidate, earlier.get(candidate.key)).answer(),
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
