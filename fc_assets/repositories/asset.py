"""The `repositories` asset: repositories with ASV benchmarks, as they were in a month."""

import dagster as dg

from fc_assets import fingerprint, materialize, work
from fc_assets.options import Options
from fc_assets.repositories import discovery
from fc_assets.repositories.describe import describe
from fc_assets.tables import REPOSITORIES
from fc_resources.github import GitHub
from fc_resources.settings import Settings
from fc_resources.warehouse import Rows


@dg.asset(
    partitions_def=materialize.MONTHS,
    pool="github",
    code_version=fingerprint.of("repositories").version,
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
    anew = materialize.anew(context, runner, options, REPOSITORIES, settings)
    outcome = materialize.run(
        context,
        runner,
        options,
        REPOSITORIES,
        found,
        lambda repository: describe(repository, options.min_stars, repository.month in anew),
        settings=settings,
    )
    return outcome.rows[REPOSITORIES.name]
