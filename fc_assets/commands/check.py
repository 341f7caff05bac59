"""`fc-data check`: whether what the stages need is there, before hours are spent on finding out.

Every probe has a line, a thread and a time limit; what is asked is in `probes`. No home is made.
"""

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fc_assets import texts
from fc_assets.commands import choice, output
from fc_resources import settings as settings_module
from fc_resources.errors import one_line

if TYPE_CHECKING:
    from fc_assets.commands.probes import Probe

#: A request ends before its probe, so that it can say why.
_OF_REQUEST = 0.8


@click.command()
@choice.stages
@click.option(
    "--agent", default="auto", show_default=True, help="Coding agent that has to be usable."
)
@click.option("--offline-source", type=Path, help="Parquet file or folder of pull requests.")
@click.option(
    "--timeout",
    "limit_s",
    type=click.IntRange(2),
    default=10,
    show_default=True,
    help="Seconds a line may take.",
)
@output.json_option
def check(
    stages: set[int], agent: str, offline_source: Path | None, limit_s: int, as_json: bool
) -> int:
    """Whether what the stages need is there; exit code 1 if one of them cannot run.

    A model that is configured is asked one short question.
    """
    from fc_assets.commands import probes
    from fc_assets.options import Options

    settings = settings_module.current()
    path = str(offline_source) if offline_source else None
    options = Options(agent=agent, offline_source=path)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        found = probes.all_probes(settings, options, Path(scratch), int(_OF_REQUEST * limit_s))
        asked = [probe for probe in found if stages & {*probe.stages}]
        rows = list(answers(asked, limit_s, settings.secrets))
    if as_json:
        output.show({"checks": rows}, as_json)
    else:
        for row in rows:
            click.echo(f"{row['state']:4}  {row['check']:15} {row['says']}")
    return int(any(row["state"] == "FAIL" for row in rows))


def answers(
    probes: "Sequence[Probe]", limit_s: float, secrets: Sequence[str]
) -> Iterator[dict[str, object]]:
    """A row per probe, all asked at once; who does not answer in time is left behind."""
    states: dict[str, tuple[str, str]] = {}
    threads = [threading.Thread(target=_ask, args=(p, states), daemon=True) for p in probes]
    for thread in threads:
        thread.start()
    until = time.monotonic() + limit_s
    for probe, thread in zip(probes, threads, strict=True):
        thread.join(max(0.0, until - time.monotonic()))
        state, says = states.get(probe.name, ("FAIL", f"no answer within {limit_s:g} s"))
        for secret in secrets:
            says = says.replace(secret, "***")
        says = texts.printable(says)
        yield {"check": probe.name, "state": state, "says": says, "stages": [*probe.stages]}


def _ask(probe: "Probe", states: dict[str, tuple[str, str]]) -> None:
    from fc_assets.commands.probes import OffError

    try:
        states[probe.name] = "ok", one_line(Exception(probe.ask()))
    except OffError as why:
        states[probe.name] = "off", one_line(why)
    except Exception as error:  # one broken probe must not end the others
        states[probe.name] = "FAIL", one_line(error)
