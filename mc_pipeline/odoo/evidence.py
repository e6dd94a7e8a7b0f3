"""Evidence of consent to marketing that Odoo holds, with its date where Odoo has one.

Two kinds: subscriptions of mailing contacts to mailing lists (module mass_mailing), and boolean fields on
partners that a company uses for consent. What the evidence allows is decided in ``domain``.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mc_pipeline.odoo.client import OdooClient, Record
from mc_pipeline.odoo.errors import OdooAccessError, OdooFieldMissingError
from mc_pipeline.odoo.fields import available_fields, optional_model_fields
from mc_pipeline.odoo.paging import read_all
from mc_pipeline.odoo.reading import iso_time

Evidence = dict[str, Any]

_DATE_FIELD_ENDINGS = ("_date", "_datetime", "_on", "_at")


@dataclass(frozen=True)
class MailingEvidence:
    """Evidence by normalised address; ``incomplete_because`` when subscriptions may be missing."""

    by_address: dict[str, list[Evidence]] = field(default_factory=dict)
    incomplete_because: str = ""
    notes: tuple[str, ...] = ()


def read_mailing_evidence(client: OdooClient) -> MailingEvidence:
    """Every subscription of every mailing contact with an address, opted-out ones included.

    An item: source (the list's name), kind "mailing_list", record_id (the list's id), subscription_id (its
    own record, which stays whatever becomes of the address), address (normalised), consented_at, opted_out,
    opted_out_at (ISO 8601, UTC, or None).

    ``consented_at`` is when the subscription was created. Odoo has subscriptions without any date: those made
    by writing ``mailing.contact.list_ids`` (the module's import and the contact form). Their later edits set
    ``write_date``, which says when something changed and not that somebody consented, so it is not used.
    """
    try:
        if optional_model_fields(client, "mailing.subscription") is None:
            return MailingEvidence(
                notes=(
                    "Odoo's module mass_mailing is not installed: no evidence of consent from mailing lists",
                )
            )
        lists = read_all(client, "mailing.list", [], ["name"])
        subscription_fields = available_fields(
            client,
            "mailing.subscription",
            ["contact_id", "list_id", "opt_out", "opt_out_datetime"],
            ["create_date"],
        )
        subscriptions = read_all(client, "mailing.subscription", [], subscription_fields)
        contacts = read_all(client, "mailing.contact", [], ["email_normalized"])
    except OdooAccessError as error:
        return MailingEvidence(incomplete_because=f"consent cannot be read: {error.message}")
    names = {record["id"]: str(record["name"] or "") for record in lists.records}
    addresses = {record["id"]: record["email_normalized"] for record in contacts.records}
    by_address: defaultdict[str, list[Evidence]] = defaultdict(list)
    for record in subscriptions.records:
        address = addresses.get(record["contact_id"])
        if address:
            by_address[address].append(_subscription(record, names, address))
    reason = next(
        (read.incomplete_because for read in (lists, subscriptions, contacts) if not read.complete), ""
    )
    return MailingEvidence(dict(by_address), reason)


def _subscription(record: Record, names: dict[int, str], address: str) -> Evidence:
    return {
        "source": names.get(record["list_id"], ""),
        "kind": "mailing_list",
        "record_id": record["list_id"],
        "subscription_id": record["id"],
        "address": address,
        "consented_at": iso_time(record.get("create_date")),
        "opted_out": bool(record["opt_out"]),
        "opted_out_at": iso_time(record["opt_out_datetime"]) if record["opt_out"] else None,
    }


def boolean_evidence_fields(client: OdooClient, boolean_fields: Iterable[str]) -> dict[str, str | None]:
    """Each boolean field with the date field beside it, or None when the tick has no date.

    The date field has the boolean's name with ``_date``, ``_datetime``, ``_on`` or ``_at`` and holds a date
    or datetime. Raises OdooFieldMissingError for a field that res.partner lacks or that is not boolean.
    """
    existing = client.fields_get("res.partner")
    found: dict[str, str | None] = {}
    for name in boolean_fields:
        if name not in existing:
            raise OdooFieldMissingError(
                f"consent.boolean_field {name}: res.partner has no such field that the Odoo user may see; "
                "check the technical name (such as x_newsletter) and the user's rights",
                "res.partner",
                "fields_get",
            )
        if existing[name].get("type") != "boolean":
            raise OdooFieldMissingError(
                f"consent.boolean_field {name}: on res.partner it is a {existing[name].get('type')} field, "
                "not a boolean",
                "res.partner",
                "fields_get",
            )
        dated = (name + ending for ending in _DATE_FIELD_ENDINGS)
        found[name] = next(
            (date for date in dated if existing.get(date, {}).get("type") in ("date", "datetime")), None
        )
    return found


def boolean_evidence(partners: Sequence[Record], fields: dict[str, str | None]) -> dict[str, list[Evidence]]:
    """One item per partner and ticked field, by the partner's normalised address.

    An item has the keys of ``read_mailing_evidence``; source is the field's name, kind "boolean_field",
    record_id the partner's id. A field that is not ticked gives no item.
    """
    by_address: defaultdict[str, list[Evidence]] = defaultdict(list)
    for partner in partners:
        address = partner["email_normalized"]
        for name, date in fields.items():
            if address and partner[name]:
                by_address[address].append(
                    {
                        "source": name,
                        "kind": "boolean_field",
                        "record_id": partner["id"],
                        "address": address,
                        "consented_at": iso_time(partner[date]) if date else None,
                        "opted_out": False,
                        "opted_out_at": None,
                    }
                )
    return dict(by_address)
