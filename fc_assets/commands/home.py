"""What there is of a home, to be looked at: that must not make one."""

from fc_resources.ledger import Ledger
from fc_resources.settings import Settings


def ledger(settings: Settings) -> Ledger | None:
    """The ledger of a home that has one."""
    return Ledger(settings.ledger) if settings.has_ledger else None
