"""The `repositories` asset: repositories with ASV benchmarks, as they were in a month."""

import functools

import dagster as dg

from fc_assets import materialize, work
from fc_assets.options import Options
from fc_assets.repositories import discovery
from fc_assets.repositories.describe import describe
from fc_assets.tables import REPOSITORIES
from fc_resources.github import GitHub
from fc_resources.settings import Settings
from fc_resources.warehouse import Rows


@dg.asset(
    partitions_def=materialize.MONTHS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    group_name="discovery",
    owners=[materialize.OWNER],
    kinds={"python", "github"},
    description=REPOSITORIES.doc,
    metadata=materialize.metadata(REPOSITORIES),
)
def repositories(
    context: dg.AssetExecutionContext,
    runner: dg.ResourceParam[work.Work],
    settings: dg.ResourceParam[Settings],
    github: dg.ResourceParam[GitHub],
    options: dg.ResourceParam[Options],
) -> Rows:
    found = discovery.items(
        options.source(settings),
        github,
        discovery.known(runner.warehouse),
        materialize.wanted(context),
        options.min_stars,
    )
    do = functools.partial(describe, min_stars=options.min_stars, decide_anew=options.force)
    outcome = materialize.run(context, runner, options, REPOSITORIES, found, do, settings=settings)
    return outcome.rows[REPOSITORIES.name]
