"""The `packages` asset: a pinned environment for every performance pull request."""

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from fc_assets import fingerprint, materialize, months, work
from fc_assets.options import Options
from fc_assets.packages import RESOLVER
from fc_assets.packages.built import builder
from fc_assets.packages.resolve import Commit, Resolver
from fc_assets.tables import PACKAGES
from fc_resources.docker import Docker
from fc_resources.git import Mirrors
from fc_resources.settings import Settings
from fc_resources.uv import Uv
from fc_resources.warehouse import Rows

_COLUMNS = ["partition_month", "owner", "repo", "merge_commit_sha", "is_performance"]


@dg.asset(
    partitions_def=materialize.MONTHS,
    pool="docker",
    code_version=fingerprint.of("packages").version,
    backfill_policy=dg.BackfillPolicy.single_run(),
    ins={"pr_classifications": dg.AssetIn(metadata={"columns": _COLUMNS})},
    group_name="environments",
    owners=[materialize.OWNER],
    kinds={"python", "uv"},
    description=PACKAGES.doc,
    metadata=materialize.metadata(PACKAGES),
)
def packages(
    context: dg.AssetExecutionContext,
    pr_classifications: pa.RecordBatchReader,
    runner: dg.ResourceParam[work.Work],
    settings: dg.ResourceParam[Settings],
    mirrors: dg.ResourceParam[Mirrors],
    uv: dg.ResourceParam[Uv],
    docker: dg.ResourceParam[Docker],
    options: dg.ResourceParam[Options],
) -> Rows:
    own = mirrors.with_local(options.git(settings))
    resolver = Resolver(own, uv, settings.python_versions, builder(docker, settings))
    outcome = materialize.run(
        context,
        runner,
        options,
        PACKAGES,
        items(months.split(pr_classifications, materialize.wanted(context)), settings),
        resolver,
        settings=settings,
    )
    pinning = resolver.pinning
    context.log.info(
        "%d resolutions by uv, %d more answered by an earlier one", pinning.asked, pinning.shared
    )
    return outcome.rows[PACKAGES.name]


def items(
    classified: Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]],
    settings: Settings,
) -> Iterator[tuple[datetime.date, list[work.Item[Commit]]]]:
    """Merge commits of performance pull requests, each once.

    The base image counts: in another one, a build that failed may not. The limit of time does not,
    for what it hid is tried again anyway.
    """
    rests_on = (RESOLVER, settings.python_versions, settings.fc_base_image)
    for month, rows in classified:
        commits = dict.fromkeys(
            Commit(row["owner"], row["repo"], row["merge_commit_sha"])
            for row in rows
            if row["is_performance"]
        )
        yield (
            month,
            [
                work.Item(f"{c.owner}/{c.repo}@{c.sha}", c, work.digest(vars(c), *rests_on))
                for c in commits
            ],
        )
