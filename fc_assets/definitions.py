"""Everything Dagster loads: seven stages, their checks, a job, a schedule and their resources.

The only module that sees all three packages. Nothing is opened while it loads.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

# Backfills in one run and partitioned checks are what this project is built on; their notices
# would repeat for every asset.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
# The job takes one month a run, which is what the costly stages want; there is nothing to warn of.
warnings.filterwarnings("ignore", message="Asset job month materializes assets with varying")

from fc_assets import checks, interrupts, materialize, work  # noqa: E402 -- after the filter
from fc_assets.candidate_containers.asset import containers  # noqa: E402
from fc_assets.candidate_prs.asset import candidate_prs  # noqa: E402
from fc_assets.formulacode import publication  # noqa: E402
from fc_assets.formulacode.asset import formulacode  # noqa: E402
from fc_assets.packages.asset import packages  # noqa: E402
from fc_assets.pr_classifications.asset import pr_classifications  # noqa: E402
from fc_assets.pull_requests.asset import pull_requests  # noqa: E402
from fc_assets.repositories.asset import repositories  # noqa: E402
from fc_resources.docker import Docker  # noqa: E402
from fc_resources.git import Mirrors  # noqa: E402
from fc_resources.github import GitHub  # noqa: E402
from fc_resources.ledger import Ledger  # noqa: E402
from fc_resources.llm import Llm  # noqa: E402
from fc_resources.settings import Settings, current  # noqa: E402
from fc_resources.uv import Uv  # noqa: E402
from fc_resources.warehouse import Warehouse  # noqa: E402
from fc_resources.warehouse_io import WarehouseIOManager  # noqa: E402
from fc_sensors.housekeeping import housekeeping  # noqa: E402
from fc_sensors.maintenance import maintenance, nightly  # noqa: E402
from fc_sensors.monthly import monthly  # noqa: E402
from fc_sensors.neighbors import neighbors  # noqa: E402
from fc_sensors.resume import resume  # noqa: E402
from fc_sensors.up_to_date import up_to_date  # noqa: E402

#: A process for each step, forked from one that has imported all of this.
_WARM = {"start_method": {"forkserver": {"preload_modules": [__name__]}}, "max_concurrent": 4}

STAGES = (
    repositories,
    pull_requests,
    pr_classifications,
    packages,
    candidate_prs,
    containers,
    formulacode,
)


@dg.configured(dg.multi_or_in_process_executor, config_schema=dg.Permissive())
def warm(config: Any) -> Any:
    """Warm workers, unless a run's configuration says otherwise."""
    return config or {"multiprocess": _WARM}


def build_resources(settings: Settings) -> dict[str, Any]:
    """The outside world of one home."""
    ledger = Ledger(settings.ledger)
    warehouse = Warehouse.of(settings)
    runner = work.Work(ledger, warehouse, settings.fc_max_failed_share)
    docker = Docker.of(settings)
    interrupts.kill_with(docker.kill_all)
    return {
        "settings": settings,
        "ledger": ledger,
        "warehouse": warehouse,
        "io_manager": WarehouseIOManager(warehouse, runner.before_load),
        "runner": runner,
        "mirrors": Mirrors.of(settings),
        "github": GitHub(
            settings.github_tokens,
            ledger,
            url=settings.fc_github_url,
            timeout_s=settings.fc_github_timeout_s,
            max_wait_s=settings.fc_github_max_wait_s,
            stop=interrupts.STOP,
        ),
        "llm": Llm.of(settings, ledger, interrupts.STOP),
        "uv": Uv(settings.uv_cache),
        "docker": docker,
        "dataset": publication.target(settings),
        "options": materialize.launch_options(),
    }


def build_defs(resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The definitions, with these resources in place of those of the environment's home."""
    job = dg.define_asset_job("month", selection="*", description="All stages of one month.")
    return dg.Definitions(
        assets=list(STAGES),
        asset_checks=checks.all_checks(),
        jobs=[job, maintenance],
        schedules=[monthly, nightly],
        sensors=[neighbors, resume, up_to_date, housekeeping],
        resources=resources or build_resources(current()),
        executor=warm,
    )


defs = build_defs()
