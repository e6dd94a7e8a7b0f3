"""Partners, orders and settings as tests write them: only what matters is said."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from mc_pipeline.domain.contacts.contacts import (
    ContactInputs,
    ContactsResult,
    Decision,
    build_contacts,
    decide,
)
from mc_pipeline.settings import CompanySettings
from mc_pipeline.tables import schemas

Row = dict[str, Any]

TAGS = {1: "Wholesale", 2: "Reseller", 3: "Customers / VIP", 4: "Suppliers / VIP", 5: "Do not contact"}


OWN = "an address of its own"


def partner(partner_id: int, email: str | None = OWN, **values: Any) -> Row:
    """A partner with an address of its own unless one is given; ``tags`` are ids of ``TAGS``."""
    if email == OWN:
        email = f"person{partner_id}@example.com"
    tags = values.pop("tags", [])
    evidence = values.pop("evidence", [])
    row: Row = {
        **{column.name: None for column in schemas.ODOO_PARTNERS.columns},
        "partner_id": partner_id,
        "active": True,
        "name": f"Partner {partner_id}",
        "email": email,
        "email_normalized": email.strip().lower() if email and "@" in email else None,
        "is_company": False,
        "commercial_partner_id": values.get("parent_id") or partner_id,
        "type": "contact",
        "tag_ids": list(tags),
        "tag_names": [TAGS[tag] for tag in tags],
        "supplier_rank": 0,
        "message_bounce": 0,
        "is_internal_user": False,
        "is_employee": False,
        "is_own_company": False,
        "is_public_or_template_user": False,
        "is_blacklisted": False,
        "evidence_json": json.dumps(evidence),
        "write_date": datetime(2024, 1, 1, tzinfo=UTC),
    }
    unknown = set(values) - set(row)
    assert not unknown, unknown
    return {**row, **values}


def company_partner(partner_id: int, email: str | None = OWN, **values: Any) -> Row:
    """A partner that is a company."""
    return partner(partner_id, email, is_company=True, **values)


def order(order_id: int, partner_id: int, amount: float = 100.0, **values: Any) -> Row:
    """A confirmed order; ``day`` is its date at noon UTC."""
    day = values.pop("day", "2024-06-01")
    row: Row = {
        "order_id": order_id,
        "name": f"S{order_id:05}",
        "partner_id": partner_id,
        "partner_invoice_id": partner_id,
        "state": "sale",
        "date_order": pd.Timestamp(f"{day} 12:00", tz="UTC"),
        "month": day[:7],
        "currency": "EUR",
        "company_currency": "EUR",
        "decimal_places": 2,
        "company_decimal_places": 2,
        "currency_rate": 1.0,
        "amount_untaxed": amount,
        "amount_tax": 0.0,
        "amount_total": amount,
        "amount_untaxed_company": amount,
        "kept_untaxed": amount,
        "kept_tax": 0.0,
        "kept_untaxed_company": amount,
        "below_zero": False,
        "write_date": pd.Timestamp(f"{day} 12:00", tz="UTC"),
    }
    unknown = set(values) - set(row)
    assert not unknown, unknown
    return {**row, **values}


def subscription(email: str, at: str | None = "2024-05-01T10:00:00+00:00", **values: Any) -> Row:
    """Evidence: a subscription to the mailing list Newsletter (7)."""
    return {
        "source": "Newsletter",
        "kind": "mailing_list",
        "record_id": 7,
        "address": email,
        "consented_at": at,
        "opted_out": False,
        "opted_out_at": None,
        **values,
    }


def ticked(email: str, partner_id: int, at: str | None = "2024-05-02T00:00:00+00:00") -> Row:
    """Evidence: the box x_newsletter of a partner is ticked."""
    return {
        **subscription(email, at),
        "source": "x_newsletter",
        "kind": "boolean_field",
        "record_id": partner_id,
    }


def partners_table(rows: Iterable[Row]) -> pd.DataFrame:
    """The table as it comes back from Parquet."""
    return _stored(schemas.ODOO_PARTNERS, rows)


def orders_table(rows: Iterable[Row]) -> pd.DataFrame:
    """The table as it comes back from Parquet."""
    return _stored(schemas.ODOO_ORDERS, rows)


def _stored(schema: schemas.TableColumns, rows: Iterable[Row]) -> pd.DataFrame:
    table = pd.DataFrame(list(rows), columns=schema.names)
    return schema.to_pandas(schema.to_arrow(table))


_PARTS = {"when", "consent", "tags", "merge_fields", "store"}


def company(audiences: dict[str, Any] | None = None, **values: Any) -> CompanySettings:
    """A company; by default one audience takes everyone. An audience is its settings, or only its rule."""
    given = audiences if audiences is not None else {"everyone": {}}
    entries = {
        key: {"list_id": f"list{key}", **(settings if _PARTS & set(settings) else {"when": settings})}
        for key, settings in given.items()
    }
    return CompanySettings.model_validate(
        {
            "key": "acme",
            "odoo_company_id": 1,
            "mailchimp": "main",
            "timezone": "Europe/Brussels",
            "audiences": entries,
            **values,
        }
    )


B2B_AND_B2C = {"wholesale": {"company_type": "company"}, "retail": {"company_type": "person"}}


def contact_inputs(
    partners: pd.DataFrame, orders: pd.DataFrame, settings: CompanySettings, **known: Any
) -> ContactInputs:
    """What contacts are decided from; of what is not given, nothing is known."""
    given: dict[str, Any] = {
        "opted_out_emails": frozenset(),
        "double_optin_audiences": frozenset(),
        "known_tags": None,
        "bound_orders": (),
    }
    return ContactInputs(partners=partners, orders=orders, company=settings, **{**given, **known})


def decided(
    partners: Iterable[Row], orders: Iterable[Row], settings: CompanySettings | None = None, **opinions: Any
) -> Decision:
    return decide(
        contact_inputs(partners_table(partners), orders_table(orders), settings or company(), **opinions)
    )


def built(
    partners: Iterable[Row], orders: Iterable[Row], settings: CompanySettings | None = None, **opinions: Any
) -> ContactsResult:
    return build_contacts(
        contact_inputs(partners_table(partners), orders_table(orders), settings or company(), **opinions)
    )


def contact(result: ContactsResult, email: str) -> Row:
    """The one contact with the address."""
    rows = result.contacts[result.contacts["email"] == email].to_dict("records")
    assert len(rows) == 1, f"{len(rows)} contacts with that address"
    return {str(name): value for name, value in rows[0].items()}


def reasons(result: ContactsResult) -> dict[int, str]:
    """Why each partner was set aside."""
    return dict(zip(result.set_aside["partner_id"], result.set_aside["reason"], strict=True))


def audiences(result: ContactsResult) -> dict[str, str]:
    """The audience of each address."""
    return dict(zip(result.contacts["email"], result.contacts["audience"], strict=True))
