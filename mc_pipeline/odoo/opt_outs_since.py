"""What was entered in Odoo about opt-outs since a moment, by its own dates, and how addresses stand there.

Each question costs what changed, or what is asked about; none reads the partners. What a long transaction
shows late is found by the overlap (see ``changes``), what has no date at all by the next comparison of
everything.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from mc_pipeline.masking import mask_email
from mc_pipeline.odoo.changes import CLOCKS_DIFFER_BY, OVERLAP, odoo_time
from mc_pipeline.odoo.client import Domain, OdooClient, Record
from mc_pipeline.odoo.fields import optional_model_fields
from mc_pipeline.odoo.reading import flags, frame, ids, texts, times

PAGE = 1000


@dataclass(frozen=True)
class SaidInOdoo:
    """One thing said in Odoo about an address (in lower case): out, or not any more, and when (UTC).

    ``source_id`` is the mailing list, for opt-outs of lists.
    """

    email: str
    out: bool
    at: datetime
    source_id: int | None = None

    def __repr__(self) -> str:
        return f"SaidInOdoo({mask_email(self.email)}, out={self.out}, at={self.at})"


def blacklist_since(client: OdooClient, since: datetime | None) -> list[SaidInOdoo]:
    """Rows of mail.blacklist written since (UTC; None: all of them), lifted ones included.

    Raises OdooError.
    """
    return [
        SaidInOdoo(str(row["email"]).lower(), bool(row["active"]), written)
        for row in _written_since(client, "mail.blacklist", [], ["email", "active", "write_date"], since)
        if row["email"] and (written := _time(row["write_date"])) is not None
    ]


def list_opt_outs_since(client: OdooClient, since: datetime | None) -> list[SaidInOdoo]:
    """Subscriptions of mailing lists written since, opted out or not; of all time (None) the opt-outs alone.

    Empty where Odoo has no mailing lists. Raises OdooError.
    """
    if optional_model_fields(client, "mailing.subscription") is None:
        return []
    rows = list(
        _written_since(
            client,
            "mailing.subscription",
            [("opt_out", "=", True)] if since is None else [],
            ["contact_id", "list_id", "opt_out", "opt_out_datetime", "write_date"],
            since,
        )
    )
    addresses: dict[int, str] = {}
    contacts = sorted({row["contact_id"] for row in rows if row["contact_id"]})
    for start in range(0, len(contacts), PAGE):
        page = client.search_read(
            "mailing.contact", [("id", "in", contacts[start : start + PAGE])], ["email_normalized"]
        )
        addresses.update((row["id"], row["email_normalized"]) for row in page if row["email_normalized"])
    return [
        SaidInOdoo(addresses[row["contact_id"]].lower(), bool(row["opt_out"]), at, row["list_id"])
        for row in rows
        if row["contact_id"] in addresses
        and (at := (_time(row["opt_out_datetime"]) if row["opt_out"] else None) or _time(row["write_date"]))
        is not None
    ]


def cleared_since(client: OdooClient, field: str, since: datetime) -> list[SaidInOdoo]:
    """Addresses of partners written since whose boolean field is not ticked, unless another partner's is.

    Raises OdooError.
    """
    written: dict[str, datetime] = {}
    domain: list[Any] = [(field, "=", False), ("email_normalized", "!=", False)]
    for row in _written_since(client, "res.partner", domain, ["email_normalized", "write_date"], since):
        at = _time(row["write_date"])
        if at is not None:
            email = str(row["email_normalized"])
            written[email] = max(at, written.get(email, at))
    ticked: set[str] = set()
    for page in _pages(sorted(written)):
        rows = client.search_read(
            "res.partner", [("email_normalized", "in", page), (field, "=", True)], ["email_normalized"]
        )
        ticked.update(row["email_normalized"] for row in rows)
    return [
        SaidInOdoo(email.lower(), True, at) for email, at in sorted(written.items()) if email not in ticked
    ]


def next_since(said_at: Iterable[datetime], asked_at: datetime) -> datetime:
    """From when on the next question has to ask, after this one: before anything that may show late.

    ``asked_at`` is our clock's; the dates seen are moments that Odoo's clock had reached.
    """
    reached = max(said_at, default=asked_at)
    return min(asked_at, max(reached, asked_at - CLOCKS_DIFFER_BY)) - OVERLAP


def read_blacklist_of(client: OdooClient, addresses: Collection[str]) -> pd.DataFrame:
    """How these addresses (in lower case) stand on the blacklist; one call per thousand. Raises OdooError.

    Columns blacklist_id, email, active, write_date (UTC), as in the table odoo_blacklist.
    """
    rows: list[Record] = []
    for page in _pages(sorted(set(addresses))):
        rows += client.search_read(
            "mail.blacklist", _one_of("email", page), ["email", "active", "write_date"], order="id"
        )
    return frame(
        {
            "blacklist_id": ids(row["id"] for row in rows),
            "email": texts(row["email"] for row in rows),
            "active": flags(row["active"] for row in rows),
            "write_date": times(row["write_date"] for row in rows),
        }
    )


def read_partners_of(client: OdooClient, company_id: int, addresses: Collection[str]) -> pd.DataFrame:
    """Partners with these addresses, of the company and shared ones, archived ones too. Raises OdooError.

    Columns partner_id, email_normalized, as in the table odoo_partners; one call per thousand.
    """
    company: list[Any] = ["|", ("company_id", "=", company_id), ("company_id", "=", False)]
    partners: list[Record] = []
    for page in _pages(sorted(set(addresses))):
        partners += client.search_read(
            "res.partner",
            ["&", *_one_of("email_normalized", page), *company],
            ["email_normalized"],
            order="id",
        )
    return frame(
        {
            "partner_id": ids(row["id"] for row in partners),
            "email_normalized": texts(row["email_normalized"] for row in partners),
        }
    )


def _one_of(field: str, addresses: Sequence[str]) -> list[Any]:
    """A domain for records with one of these addresses.

    Odoo keeps the case of letters beyond ASCII, and ``in`` compares exactly.
    """
    plain = [address for address in addresses if address.isascii()]
    others = [address for address in addresses if not address.isascii()]
    terms: list[Any] = [(field, "in", plain)] if plain else []
    terms += [(field, "=ilike", _literally(address)) for address in others]
    return ["|"] * (len(terms) - 1) + terms


def _literally(address: str) -> str:
    return address.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _written_since(
    client: OdooClient, model: str, domain: Domain, fields: Sequence[str], since: datetime | None
) -> Iterator[Record]:
    """Records by id, page after page: rows that come meanwhile are in the next question's window."""
    last = 0
    window: list[Any] = [] if since is None else [("write_date", ">=", odoo_time(since))]
    while True:
        page = client.search_read(
            model, [*domain, *window, ("id", ">", last)], fields, limit=PAGE, order="id"
        )
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1]["id"]


def _pages(addresses: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(addresses), PAGE):
        yield list(addresses[start : start + PAGE])


def _time(value: Any) -> datetime | None:
    return datetime.fromisoformat(str(value)).replace(tzinfo=UTC) if value else None
