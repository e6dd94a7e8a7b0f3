"""The tills of a company: which journals hold their closings, and which documents are closings.

Until Odoo 19 a session is closed by one journal entry in ``pos.config.journal_id``. From 20 on it is closed
by an invoice and, after refunds, a credit note of a default customer, in ``closing_journal_id``;
``journal_id`` holds the invoices made in a till there. Marks on the documents name the session (source of
20.0, ``addons/point_of_sale``; not yet seen on a server).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mc_pipeline.chunks import chunks_of
from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.errors import OdooAccessError, OdooModelMissingError

DOCUMENT_TYPES = ["out_invoice", "out_refund"]
_CLOSING_JOURNAL = "closing_journal_id"
_MARKS = (
    "pos_session_sales_id", "pos_session_refunds_id", "pos_session_correction_id", "reversed_pos_order_id",
)  # fmt: skip
_AT_ONCE = 1000


@dataclass(frozen=True)
class Tills:
    """What the settings of the company's shops say, archived ones too.

    ``entry_journals``: where closings are journal entries. ``closing_journals``: where they are invoices and
    credit notes (from 20 on). ``invoice_journals``: for what else customers are invoiced in a till there.
    ``note``: why nothing is known.
    """

    entry_journals: Sequence[int] = ()
    closing_journals: Sequence[int] = ()
    invoice_journals: Sequence[int] = ()
    note: str = ""


def read_tills(client: OdooClient, company_id: int) -> Tills:
    """Read the journals of the company's shops. Without the right to see them, a note says so."""
    try:
        named = [_CLOSING_JOURNAL] if _CLOSING_JOURNAL in client.fields_get("pos.config") else []
        shops = client.search_read(
            "pos.config",
            [("company_id", "=", company_id), ("active", "in", [True, False])],
            ["journal_id", *named],
        )
    except OdooModelMissingError:
        return Tills()
    except OdooAccessError:
        return Tills(
            note="the Odoo user may not see the point of sale: its entries are among the other entries, and "
            "closings that Odoo 20 books as invoices may be among the invoices without an order"
        )
    journals = sorted({shop["journal_id"] for shop in shops if shop["journal_id"]})
    if not named:
        return Tills(entry_journals=journals)
    closing = sorted({shop[_CLOSING_JOURNAL] for shop in shops if shop[_CLOSING_JOURNAL]})
    # Where an upgrade of Odoo puts the journal of older closings, which are entries, is not known.
    return Tills(sorted({*journals, *closing}), closing, journals)


def closing_documents(client: OdooClient, company_id: int, tills: Tills) -> frozenset[int]:
    """Ids of the company's posted invoices and credit notes that are the closings of tills.

    A document of a closing journal, or with a mark. But none with a line tied to a line of a sale order, nor
    what reverses such a document: they count to their order. A journal that tills also make invoices in says
    nothing where Odoo has the marks. Raises the client's errors.
    """
    existing = client.fields_get("account.move")
    marks = [mark for mark in _MARKS if mark in existing and existing[mark]["type"] == "many2one"]
    shared = set(tills.invoice_journals) if marks else set()
    journals = [journal for journal in tills.closing_journals if journal not in shared]
    ways: list[Any] = [(mark, "!=", False) for mark in marks]
    ways += [("journal_id", "in", journals)] if journals else []
    if not ways:
        return frozenset()
    domain = [
        ("company_id", "=", company_id),
        ("move_type", "in", DOCUMENT_TYPES),
        ("state", "=", "posted"),
        *["|"] * (len(ways) - 1),
        *ways,
    ]
    found = client.search_read("account.move", domain, ["reversed_entry_id"], order="id")
    reverses = {record["id"]: record["reversed_entry_id"] for record in found}
    for tied in _tied_to_sales(client, sorted(reverses)):
        reverses.pop(tied, None)
    while others := [move for move, other in reverses.items() if other and other not in reverses]:
        for move in others:
            del reverses[move]
    return frozenset(reverses)


def _tied_to_sales(client: OdooClient, moves: Sequence[int]) -> Iterator[int]:
    if "sale_line_ids" not in client.fields_get("account.move.line"):
        return
    for some in chunks_of(_AT_ONCE, moves):
        domain = [("move_id", "in", some), ("sale_line_ids", "!=", False)]
        for line in client.search_read("account.move.line", domain, ["move_id"]):
            yield int(line["move_id"])
