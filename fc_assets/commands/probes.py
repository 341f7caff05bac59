"""What `fc-data check` asks, which stages it matters to, and what its answers mean for them.

How a neighbour is asked is `fc_resources.preflight`'s, or its own module's.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from fc_assets.options import Options
from fc_resources import preflight
from fc_resources.coding_agents import choice
from fc_resources.dataset_bucket import DatasetBucket
from fc_resources.errors import PermanentError, UsageError
from fc_resources.ledger import Ledger
from fc_resources.llm import backend
from fc_resources.offline import OfflineSource
from fc_resources.registry import Registry
from fc_resources.settings import Settings
from fc_resources.uv import Uv
from fc_resources.warehouse import Warehouse

_GIB = 2**30
_ALL = (1, 2, 3, 4, 5, 6, 7)


class OffError(Exception):
    """Nothing is configured, and nothing has to be; the text says what is done instead."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """A question that matters to `stages`; `ask` says what there is, or raises why it cannot be.

    `OffError` is for what need not be.
    """

    name: str
    stages: tuple[int, ...]
    ask: Callable[[], str]


def all_probes(
    settings: Settings, options: Options, scratch: Path, timeout_s: int
) -> Iterator[Probe]:
    """Every probe of these settings; what is noted without a home goes to a ledger in `scratch`.

    The time limit is that of one request.
    """
    there = settings.has_ledger
    ledger = Ledger(settings.ledger if there else f"sqlite:///{scratch / 'ledger.sqlite'}")
    yield Probe("home", _ALL, lambda: _home(settings))
    yield Probe("disk", _ALL, lambda: _disk(settings.fc_home, settings))
    if there:
        yield Probe("ledger", _ALL, lambda: _ledger(ledger))
    if settings.has_warehouse:
        yield Probe("warehouse", _ALL, lambda: _warehouse(settings, timeout_s))
    source = options.offline(settings)
    if source:
        yield Probe("offline source", (1, 2, 5), lambda: _source(source))
    yield from _github(settings, ledger, source is not None, timeout_s)
    yield Probe("git", (2, 4, 6), lambda: preflight.version("git", timeout_s))
    yield Probe("model", (3, 5), _model(settings, ledger, timeout_s))
    yield Probe("uv", (4,), lambda: f"uv {Uv(settings.uv_cache).version}")
    yield from _docker(settings, timeout_s)
    for name in sorted({*choice.AGENTS, options.agent} - {"auto", "none"}):
        yield Probe(f"agent {name}", (6,), _agent(name, options, settings))
    yield Probe("registry", (7,), lambda: _registry(settings))
    yield Probe("hub", (7,), _hub(settings))


def _home(settings: Settings) -> str:
    home = settings.fc_home
    if not preflight.may_write(home):
        raise PermanentError(f"{home} cannot be written; set FC_HOME to a folder of yours")
    return f"{home}" if home.exists() else f"{home} will be made"


def _disk(folder: Path, settings: Settings) -> str:
    free, kept = preflight.free_bytes(folder) / _GIB, settings.fc_free_gb
    text = f"{free:.1f} GiB free at {folder}, FC_FREE_GB keeps {kept:g}"
    if free <= kept:
        raise PermanentError(f"{text}; make room, or lower it")
    return text


def _ledger(ledger: Ledger) -> str:
    ledger.check()
    pauses = ledger.pauses()
    return ledger.place + (f", {len(pauses)} pauses hold" if pauses else "")


def _warehouse(settings: Settings, timeout_s: float) -> str:
    warehouse = Warehouse.of(settings.model_copy(update={"fc_lock_timeout_s": timeout_s}))
    return f"{warehouse}, {len(warehouse.tables())} tables"


def _source(source: OfflineSource) -> str:
    source.check()
    return f"{source.pull_requests_file}"


def _github(
    settings: Settings, ledger: Ledger, has_source: bool, timeout_s: float
) -> Iterator[Probe]:
    tokens = settings.github_tokens
    for number, token in enumerate(tokens, 1):

        def ask(token: str = token) -> str:
            budgets = preflight.github_budgets(token, ledger, settings.fc_github_url, timeout_s)
            wanted = [name for name in ("graphql", "core", "code_search") if name in budgets]
            left = (f"{name} {budgets[name][0]} of {budgets[name][1]}" for name in wanted)
            return f"answers; left: {', '.join(left)}"

        yield Probe(f"github token {number}", (1, 2, 5), ask)

    def none() -> str:
        if has_source:
            raise OffError("no GH_TOKENS; the offline source is all there is")
        raise UsageError("no source of pull requests; set GH_TOKENS, or give --offline-source")

    if not tokens:
        yield Probe("github", (1, 2, 5) if has_source else (1, 2), none)


def _model(settings: Settings, ledger: Ledger, timeout_s: float) -> Callable[[], str]:
    found = backend(settings)
    if found is None:
        return _off("no DSPY_MODEL; rules judge and extract, and say so")
    # The time limit is the model's, not that of a second of imports.
    from fc_resources import llm_dspy  # noqa: F401

    def ask() -> str:
        preflight.greet(settings, ledger, timeout_s)
        return f"{found.name} answers"

    return ask


def _docker(settings: Settings, timeout_s: int) -> Iterator[Probe]:
    if settings.fc_sandbox in ("process", "none"):
        without = f"FC_SANDBOX is {settings.fc_sandbox}; no container is made"
        yield Probe("docker", (6,), _off(without))
        return

    def daemon() -> str:
        version, root = preflight.daemon(timeout_s)
        # Elsewhere than on this machine it has a disk of its own.
        room = f"; {_disk(root, settings)}" if root.exists() else ""
        return f"Docker {version}{room}"

    def images() -> str:
        pattern, minors = settings.fc_base_image, settings.python_versions
        names = [pattern.replace("{python}", minor) for minor in minors]
        here, lacking = preflight.images(names, timeout_s)
        text = f"{len(here)} of {len(names)} are here"
        if lacking and not here:
            raise PermanentError(f"{lacking}; make one, or set FC_BASE_IMAGE")
        if lacking:
            return f"{text}; {lacking}: name the others in FC_PYTHON_VERSIONS"
        return text if len(here) == len(names) else f"{text}, the others are pulled when needed"

    yield Probe("docker", (6, 7) if settings.fc_registry else (6,), daemon)
    yield Probe("base images", (6,), images)


def _agent(name: str, options: Options, settings: Settings) -> Callable[[], str]:
    def ask() -> str:
        try:
            options.model_copy(update={"agent": name}).coding_agent(settings)
        except UsageError as error:
            why = str(error).removeprefix(f"--agent {name} cannot be used: ")
            if options.agent == name:
                raise UsageError(why) from None
            raise OffError(why) from None
        return "is installed, has a key, and its jail works"

    return ask


def _registry(settings: Settings) -> str:
    registry = Registry.of(settings)
    if registry is None:
        raise OffError("no FC_REGISTRY; images stay on this machine")
    # What is not there is told only to those who are let in.
    registry.digest("formulacode-check", "none")
    return f"{registry.place} answers and lets us in"


def _hub(settings: Settings) -> Callable[[], str]:
    if settings.fc_dataset is None:
        return _off(f"no FC_DATASET; records go to {settings.published}")
    if settings.fc_dataset.startswith("s3://"):
        bucket = DatasetBucket(settings.fc_dataset, settings.fc_s3_path_style)
        return lambda: f"{bucket.name} answers: {len(bucket.refs().tags)} versions"
    import huggingface_hub  # noqa: F401 -- as for the model

    def ask() -> str:
        user = preflight.hub_user(settings.hub_token, settings.hf_endpoint)
        return f"logged in as {user}, for {settings.fc_dataset}"

    return ask


def _off(text: str) -> Callable[[], str]:
    def ask() -> str:
        raise OffError(text)

    return ask
