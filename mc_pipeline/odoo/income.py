"""What a company's books hold on income accounts, by month of the accounting date, summed up by Odoo."""

from typing import Any

from mc_pipeline.odoo.accounting import INCOME_ACCOUNTS
from mc_pipeline.odoo.client import Domain, OdooClient
from mc_pipeline.odoo.reading import OdooRead, frame, now, numbers, texts
from mc_pipeline.odoo.tills import DOCUMENT_TYPES, closing_documents, read_tills

DOCUMENTS = "documents"
TAXES = "taxes"
POINT_OF_SALE = "point_of_sale"
OTHER_ENTRIES = "other_entries"

_GROUPED_SINCE = (19, 0)
"""Where ``formatted_read_group`` replaces ``read_group``."""


def read_income(client: OdooClient, company_id: int) -> OdooRead:
    """Sum up the posted journal items on income accounts.

    Columns: month ("YYYY-MM"), kind (``documents``: customer invoices and credit notes; ``taxes``: the taxes
    of these, which Odoo books on the account of the goods when the tax itself names no account (measured on
    17 to 19); ``point_of_sale``: its closings, entries and from Odoo 20 on documents; ``other_entries``: all
    else), amount (company currency, above zero: revenue).

    Without the right to see the point of sale's settings, its entries are among the others; a note says so.
    Raises the client's errors.
    """
    observed_at = now()
    limited = client.with_companies([company_id])
    posted: list[Any] = [
        ("company_id", "=", company_id),
        ("parent_state", "=", "posted"),
        ("account_id.account_type", "in", list(INCOME_ACCOUNTS)),
    ]
    of_documents = ("move_id.move_type", "in", list(DOCUMENT_TYPES))
    of_others = ("move_id.move_type", "not in", list(DOCUMENT_TYPES))
    tills = read_tills(limited, company_id)
    closings = sorted(closing_documents(limited, company_id, tills))
    of_closings = [("move_id", "in", closings)]
    journals = list(tills.entry_journals)
    billed = [*posted, of_documents, *([("move_id", "not in", closings)] if closings else [])]
    kinds: list[tuple[str, Domain]] = [
        (DOCUMENTS, [*billed, ("display_type", "!=", "tax")]),
        (TAXES, [*billed, ("display_type", "=", "tax")]),
    ]
    if closings:
        kinds.append((POINT_OF_SALE, [*posted, *of_closings]))
    if journals:
        kinds.append((POINT_OF_SALE, [*posted, of_others, ("journal_id", "in", journals)]))
        kinds.append((OTHER_ENTRIES, [*posted, of_others, ("journal_id", "not in", journals)]))
    else:
        kinds.append((OTHER_ENTRIES, [*posted, of_others]))
    sums: dict[tuple[str, str], float] = {}
    for kind, domain in kinds:
        for month, balance in _balance_by_month(limited, domain):
            sums[month, kind] = sums.get((month, kind), 0.0) - balance
    found = [(month, kind, amount) for (month, kind), amount in sums.items()]
    rows = frame(
        {
            "month": texts(month for month, _, _ in found),
            "kind": texts(kind for _, kind, _ in found),
            "amount": numbers(amount for _, _, amount in found),
        }
    )
    return OdooRead(rows, observed_at, notes=(tills.note,) if tills.note else ())


def _balance_by_month(client: OdooClient, domain: Domain) -> list[tuple[str, float]]:
    """Sum up balances by accounting month. Labels of months are in the user's language; ranges are not."""
    if client.version >= _GROUPED_SINCE:
        groups = client.execute(
            "account.move.line",
            "formatted_read_group",
            domain=list(domain),
            groupby=["date:month"],
            aggregates=["balance:sum"],
        )
        return [(group["date:month"][0][:7], group["balance:sum"] or 0.0) for group in groups]
    groups = client.execute(
        "account.move.line",
        "read_group",
        domain=list(domain),
        fields=["balance:sum"],
        groupby=["date:month"],
        lazy=False,
    )
    return [(group["__range"]["date:month"]["from"][:7], group["balance"] or 0.0) for group in groups]
