"""Who is opted out in Odoo: as it was read, and by what was applied there since (rule 5.1)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from mc_pipeline.vocabulary import OdooAction, OptOutScope


class CarriedLike(Protocol):
    """What was done in Odoo: an opt-out or its removal, everywhere or in one company."""

    @property
    def email(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def company(self) -> str: ...
    @property
    def recorded_at(self) -> datetime: ...
    @property
    def settled_at(self) -> datetime | None: ...


def opted_out_in_odoo(
    active: Iterable[str],
    standing: Iterable[str],
    carried: Iterable[CarriedLike],
    *,
    company: str,
    read_at: datetime,
    until: datetime | None,
) -> frozenset[str]:
    """Return the addresses that are opted out in Odoo, for a company.

    What was applied for the whole of Odoo shows in the blacklist from the next read on, so only later acts
    count; what was applied for a company alone (``opt_out_scope: company``) never shows there.

    Args:
        active: addresses with an active row in Odoo's blacklist, as it was read.
        standing: addresses of which Odoo said since that they are out of every audience.
        carried: what was done in Odoo, the oldest first.
        company: key of the company.
        read_at: when the blacklist was read (UTC).
        until: leaves out what was applied later (UTC); None: nothing.
    """
    latest = {
        done.email: done.action
        for done in carried
        if (done.scope == OptOutScope.EVERYWHERE and done.settled_at and done.settled_at >= read_at)
        or (done.scope == OptOutScope.COMPANY and done.company == company)
        if until is None or done.recorded_at <= until
    }
    return frozenset(
        {*active, *standing} | {email for email, action in latest.items() if action == OdooAction.OPT_OUT}
    )
