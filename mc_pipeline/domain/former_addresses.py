"""Rule 6.3: whoever opted out under a former address has opted out under the present one too."""

from collections.abc import Iterable, Set
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd


class EventLike(Protocol):
    """An event of the consent history."""

    @property
    def event(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...


_OPTED_OUT = frozenset({"opt_out", "clean", "complaint"})


def standing_opt_out(events: Iterable[EventLike]) -> datetime | None:
    """Return when (UTC) a person opted out who has not come back by their own act since; None: they have not.

    Args:
        events: everything known of one address, in any audience. A hard bounce is of the address, not of the
            person, yet nobody can tell whether a new address is the same mailbox: it counts.
    """
    opted_out: datetime | None = None
    for event in sorted(events, key=lambda event: event.occurred_at):
        if event.event in _OPTED_OUT:
            opted_out = event.occurred_at
        elif event.event == "subscribe" and event.origin == "person":
            opted_out = None
    return opted_out


def addresses_inheriting_opt_outs(
    records: "pd.DataFrame", partners: "pd.DataFrame", opted_out: Set[str]
) -> Set[str]:
    """Return the present addresses of partners whom we knew under an address that opted out.

    Args:
        records: the ledger's records of members (``email``, ``partner_id``).
        partners: the odoo_partners table (``partner_id``, ``email_normalized``).
        opted_out: addresses that opted out anywhere, in Mailchimp or in Odoo.
    """
    known = records.loc[records["partner_id"].notna(), ["email", "partner_id"]]
    present = partners.set_index("partner_id")["email_normalized"]
    now = known["partner_id"].astype("int64").map(present)
    changed = now.notna() & (now != known["email"])
    former, now = known.loc[changed, "email"], now[changed]
    inheriting: Set[str] = frozenset()
    # Who inherits has opted out as well, and may be another partner's former address: until nobody is added.
    while True:
        more = inheriting | set(now[former.isin(opted_out | inheriting)])
        if more == inheriting:
            return inheriting
        inheriting = more
