"""The `pull_requests` asset: merged pull requests of the tracked repositories."""

import functools

import dagster as dg
import pyarrow as pa

from fc_assets import fingerprint, materialize, months, work
from fc_assets.options import Options
from fc_assets.pull_requests import listing
from fc_assets.pull_requests.describe import describe
from fc_assets.tables import PULL_REQUESTS
from fc_resources.git import Mirrors
from fc_resources.github import GitHub
from fc_resources.settings import Settings
from fc_resources.warehouse import Rows

#: Pull requests whose diffs are computed by the same git processes, and how many such batches at
#: once: a patch may have 16 MiB, and git is busy with a core.
_TOGETHER, _BATCHES = 50, 2


@dg.asset(
    partitions_def=materialize.MONTHS,
    pool="github",
    code_version=fingerprint.of("pull_requests").version,
    backfill_policy=dg.BackfillPolicy.single_run(),
    ins={
        "repositories": dg.AssetIn(
            metadata={"columns": ["partition_month", "owner", "repo", "aliases", "asv_configs"]}
        )
    },
    group_name="discovery",
    owners=[materialize.OWNER],
    kinds={"python", "git"},
    description=PULL_REQUESTS.doc,
    metadata=materialize.metadata(PULL_REQUESTS),
)
def pull_requests(
    context: dg.AssetExecutionContext,
    repositories: pa.RecordBatchReader,
    runner: dg.ResourceParam[work.Work],
    settings: dg.ResourceParam[Settings],
    mirrors: dg.ResourceParam[Mirrors],
    github: dg.ResourceParam[GitHub],
    options: dg.ResourceParam[Options],
) -> Rows:
    source = options.source(settings)
    tracked = months.split(repositories, materialize.wanted(context))
    for name in mirrors.prune(settings.fc_mirror_days):
        context.log.info(f"removed the mirror of {name}, unused for {settings.fc_mirror_days} days")
    mirrors = mirrors.with_local(source.git if source else None)
    outcome = materialize.run(
        context,
        runner,
        options,
        PULL_REQUESTS,
        listing.items(source, github, tracked),
        work.Batches(functools.partial(describe, mirrors=mirrors, github=github), _TOGETHER),
        settings=settings,
        concurrency=_BATCHES,
    )
    return outcome.rows[PULL_REQUESTS.name]
