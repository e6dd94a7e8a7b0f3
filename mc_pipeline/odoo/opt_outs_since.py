"""What was entered in Odoo about opt-outs since a moment, by its own dates, and the state of addresses there.

Each question costs what changed, or what is asked about; none reads the partners. What a long transaction
shows late is found by the overlap (see ``changes``), what has no date at all by the next comparison of
everything.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from mc_pipeline.chunks import chunks_of
from mc_pipeline.masking import mask_email
from mc_pipeline.odoo.changes import CLOCKS_DIFFER_BY, OVERLAP, odoo_time
from mc_pipeline.odoo.client import Domain, OdooClient, Record
from mc_pipeline.odoo.companies import partners_of, seeing_partners, with_companies_above
from mc_pipeline.odoo.fields import optional_model_fields
from mc_pipeline.odoo.reading import flags, frame, ids, texts, times

PAGE = 1000
_MERGED_AT_A_TIME = 50
_NAMED_PARTNER = re.compile(r"(?:>|&gt;)\s*\(ID (\d+)\)")


@dataclass(frozen=True)
class SaidInOdoo:
    """One thing said in Odoo about an address (in lower case): out, or not any more, and when (UTC).

    ``record_id`` is the record that says it: a mailing subscription (``source_id`` is its list), or a partner
    whose boolean field is not ticked. Either may have no address any more: an empty one.
    """

    email: str
    out: bool
    at: datetime
    source_id: int | None = None
    record_id: int | None = None

    def __repr__(self) -> str:
        return f"SaidInOdoo({mask_email(self.email)}, out={self.out}, at={self.at})"


def blacklist_since(client: OdooClient, since: datetime | None) -> list[SaidInOdoo]:
    """Rows of mail.blacklist written since (UTC; None: all of them), removed ones included.

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
    for some in chunks_of(PAGE, contacts):
        page = client.search_read("mailing.contact", [("id", "in", some)], ["email_normalized"])
        addresses.update((row["id"], row["email_normalized"]) for row in page if row["email_normalized"])
    return [
        SaidInOdoo(
            addresses.get(row["contact_id"], "").lower(), bool(row["opt_out"]), at, row["list_id"], row["id"]
        )
        for row in rows
        if (at := (_time(row["opt_out_datetime"]) if row["opt_out"] else None) or _time(row["write_date"]))
        is not None
    ]


def cleared_since(client: OdooClient, field: str, since: datetime) -> list[SaidInOdoo]:
    """Partners written since whose boolean field is not ticked, nor that of another one with the address.

    Partners of every company that the Odoo user has: a contact may have moved to another one. Raises
    OdooError.
    """
    everywhere = client.with_companies(client.user_company_ids)
    written: list[SaidInOdoo] = []
    addresses: dict[int, str] = {}
    fields = ["email_normalized", "write_date"]
    for row in _written_since(everywhere, "res.partner", [(field, "=", False)], fields, since):
        at = _time(row["write_date"])
        if at is not None:
            addresses[row["id"]] = str(row["email_normalized"] or "")
            written.append(SaidInOdoo(addresses[row["id"]].lower(), True, at, record_id=row["id"]))
    ticked = _ticked(everywhere, field, set(addresses.values()) - {""})
    return [each for each in written if addresses[each.record_id or 0] not in ticked]


def cleared_now(client: OdooClient, field: str, partner_ids: Collection[int]) -> dict[int, datetime]:
    """Which of these partners do not have the boolean field ticked, and when they were last written (UTC).

    Of every company that the Odoo user has. A partner counts as ticked where another one with the same
    address is; one that is not there any more is left out. Raises OdooError.
    """
    everywhere = client.with_companies(client.user_company_ids)
    rows: list[Record] = []
    wanted = sorted(set(partner_ids))
    for some in chunks_of(PAGE, wanted):
        domain: list[Any] = [("id", "in", some), (field, "=", False)]
        rows += everywhere.search_read("res.partner", domain, ["email_normalized", "write_date"])
    ticked = _ticked(everywhere, field, {row["email_normalized"] for row in rows if row["email_normalized"]})
    return {
        row["id"]: at
        for row in rows
        if row["email_normalized"] not in ticked and (at := _time(row["write_date"])) is not None
    }


def _ticked(client: OdooClient, field: str, addresses: Collection[str]) -> set[str]:
    found: set[str] = set()
    for page in chunks_of(PAGE, sorted(addresses)):
        rows = client.search_read(
            "res.partner", [("email_normalized", "in", page), (field, "=", True)], ["email_normalized"]
        )
        found.update(row["email_normalized"] for row in rows)
    return found


def addresses_of_partners(client: OdooClient, partner_ids: Collection[int]) -> dict[int, str]:
    """The address (in lower case; empty where there is none) of these partners; who is gone is left out.

    Of every company that the Odoo user has. Raises OdooError.
    """
    everywhere = client.with_companies(client.user_company_ids)
    found: dict[int, str] = {}
    wanted = sorted(set(partner_ids))
    for some in chunks_of(PAGE, wanted):
        domain = [("id", "in", some)]
        for row in everywhere.search_read("res.partner", domain, ["email_normalized"]):
            found[row["id"]] = str(row["email_normalized"] or "").lower()
    return found


def merged_into(client: OdooClient, partner_ids: Collection[int]) -> dict[int, int]:
    """Into which partner each of these partners was merged, as far as Odoo shows.

    A merge deletes the partners that it takes up. Its only trace is a message on the survivor that names
    them: "Merged with the following partners: Name <address> (ID 4067)" (seen on Odoo 17, 18 and 19). Raises
    OdooError.
    """
    everywhere = client.with_companies(client.user_company_ids)
    wanted = sorted(set(partner_ids))
    found: dict[int, int] = {}
    for page in chunks_of(_MERGED_AT_A_TIME, wanted):
        terms: list[Any] = [("body", "ilike", f"(ID {partner_id})") for partner_id in page]
        # Odoo posts it as a notification; what people write is a comment.
        of_odoo = [("model", "=", "res.partner"), ("message_type", "=", "notification")]
        domain = [*of_odoo, *["|"] * (len(terms) - 1), *terms]
        for row in everywhere.search_read("mail.message", domain, ["res_id", "body"], order="id"):
            named = {int(number) for number in _NAMED_PARTNER.findall(str(row["body"]))}
            found.update((partner_id, int(row["res_id"])) for partner_id in named.intersection(page))
    return found


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
    for page in chunks_of(PAGE, sorted(set(addresses))):
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
    """Partners of the company (see ``companies``) with these addresses, archived ones too. Raises OdooError.

    Columns partner_id, email_normalized, as in the table odoo_partners; one call per thousand.
    """
    if addresses:
        companies = with_companies_above(client, company_id)
        client, company = seeing_partners(client, companies), partners_of(companies)
    partners: list[Record] = []
    for page in chunks_of(PAGE, sorted(set(addresses))):
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


def _time(value: Any) -> datetime | None:
    return datetime.fromisoformat(str(value)).replace(tzinfo=UTC) if value else None
