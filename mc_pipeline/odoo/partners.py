"""The partners of a company, with everything that decides whether and how they are a contact."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from mc_pipeline.digests import canonical_json
from mc_pipeline.odoo.changes import Reading, Stale, changed_since
from mc_pipeline.odoo.client import Domain, OdooClient, Record
from mc_pipeline.odoo.companies import (
    partners_of,
    seeing_partners,
    unseen_because,
    with_companies_above,
)
from mc_pipeline.odoo.database_mark import database_mark
from mc_pipeline.odoo.evidence import (
    Evidence,
    boolean_evidence,
    boolean_evidence_fields,
    read_mailing_evidence,
)
from mc_pipeline.odoo.exclusions import read_not_customers
from mc_pipeline.odoo.fields import available_fields, optional_model_fields, require_boolean_field
from mc_pipeline.odoo.reading import (
    OdooRead,
    flags,
    frame,
    ids,
    integers,
    joined,
    lists,
    names_of,
    now,
    optional_ids,
    texts,
    times,
)
from mc_pipeline.odoo.tags import read_tag_paths
from mc_pipeline.odoo.tax_ids import tax_id_mark

_MODEL = "res.partner"
_WITHOUT_COMPANY_TYPES = (19, 1)
_REQUIRED = (
    "active", "name", "email", "email_normalized", "is_company", "parent_id", "commercial_partner_id",
    "company_id", "type", "lang", "street", "street2", "zip", "city", "state_id", "country_id", "phone",
    "category_id", "write_date",
)  # fmt: skip
# Missing in some versions or without some modules: mobile (gone in 19), firstname and lastname (OCA's
# partner_firstname), supplier_rank (account), employee (a stored flag, computed by hr), company_name (gone in
# 19.4).
_OPTIONAL = (
    "mobile", "firstname", "lastname", "commercial_company_name", "company_name", "industry_id",
    "supplier_rank", "message_bounce", "employee", "vat",
)  # fmt: skip


@dataclass(frozen=True)
class PartnersRead(OdooRead):
    """Partners as Odoo has them.

    ``has_company_types``: users say in Odoo who is a company (until 19.0). Without it ``is_company`` and
    ``commercial_partner_id`` of the rows are Odoo's own still, for ``domain.contacts.company_records`` to
    judge. ``database`` is a mark of the database that stays the same when it is renamed, moved or upgraded.
    """

    has_company_types: bool = True
    database: str = ""


FOR_JUDGING = ("tax_id_mark", "typed_company_name", "name_by_odoo", "company_if_field")
"""Columns of ``read_partners`` by which companies are judged, and which are not kept."""

# Fields that Odoo and its modules set without a trace in write_date (ranks and imports by SQL).
_UNDATED = ("supplier_rank", "employee")


def has_company_types(client: OdooClient) -> bool:
    """Whether users say in Odoo who is a company: until 19.0.

    By the version, not by the field ``company_type``: a module may have one of its own in a later Odoo, where
    ``is_company`` means all the same that there is a tax id.
    """
    return client.version < _WITHOUT_COMPANY_TYPES


def read_partners(
    client: OdooClient,
    company: int,
    *,
    boolean_fields: Iterable[str] = (),
    company_if_field: str | None = None,
    reading: Reading | None = None,
) -> PartnersRead:
    """The partners of the company, of the companies above it, and shared ones, archived ones included.

    ``company`` is the res.company id; ``boolean_fields`` are fields of res.partner that mean consent.
    ``reading`` may take unchanged partners from an earlier read; users, employees, tags, the blacklist and
    subscriptions are read whole each time. Of tags, what only the whole read sees are links that another
    program made in Odoo's database on its own; of supplier_rank, a count that grows above 1.
    ``company_if_field``: the boolean field of ``company_if``, read only where Odoo has no company types.

    Columns: partner_id int64, active bool, name ("" where Odoo has none, as on many addresses), first_name,
    last_name (only where partner_firstname gives them), email (as typed in Odoo), email_normalized (Odoo's;
    the first of several addresses), is_company bool, parent_id, commercial_partner_id, company_id (Int64,
    missing = shared), type, lang (Odoo's code), street, street2, zip, city, state (the state's name),
    country_code (ISO 3166-1 alpha-2), phone (else mobile),
    company_name (of the commercial company), company_known_by ("odoo"), differs_without_memory (False),
    industry, tag_ids list of int (ascending), tag_names list of str
    (full path "Parent / Child", in the order of tag_ids), supplier_rank int64, message_bounce int64,
    is_internal_user,
    is_employee, is_own_company, is_public_or_template_user, is_blacklisted (bool), evidence_json (list of
    consent evidence for email_normalized, see ``consent``), write_date (UTC). Names are in English (en_US).
    ``FOR_JUDGING``: tax_id_mark (see ``tax_ids``), typed_company_name (on the contact itself; no column from
    19.4 on), name_by_odoo (what Odoo calls its company), company_if_field (bool).

    Not complete when partners, users, companies, employees or consent could not be read whole. Raises
    OdooAccessError, OdooFieldMissingError and the other errors of the client.
    """
    observed_at = now()
    companies = with_companies_above(client, company)
    limited = seeing_partners(client, companies)
    dates = boolean_evidence_fields(limited, boolean_fields)
    consent_fields = [*dates, *(date for date in dates.values() if date)]
    typed = has_company_types(client)
    company_if = () if typed or company_if_field is None else (company_if_field,)
    for name in company_if:
        require_boolean_field(limited, name, "company_if.field")
    required = dict.fromkeys((*_REQUIRED, *consent_fields, *company_if))
    fields = available_fields(limited, _MODEL, required, _OPTIONAL)
    domain = partners_of(companies)
    found = (reading or Reading()).read(
        limited,
        _MODEL,
        [domain],
        fields,
        bumped_by=["parent_id", "commercial_partner_id"],
        stale=_stale(limited, domain, [*(name for name in _UNDATED if name in fields), *dates]),
    )
    # One read by id does not apply the domain: a partner that went to another company meanwhile is theirs.
    records = [record for record in found.records if record["company_id"] in (False, *companies)]
    not_customers = read_not_customers(client)
    mailing = read_mailing_evidence(limited)
    blacklisted = _blacklisted(limited, domain)
    rows = _rows(
        limited,
        records,
        {
            "is_internal_user": not_customers.internal_users,
            "is_employee": not_customers.employees | {r["id"] for r in records if r.get("employee")},
            "is_own_company": not_customers.own_companies,
            "is_public_or_template_user": not_customers.public_or_template_users,
            "is_blacklisted": blacklisted,
        },
        [mailing.by_address, boolean_evidence(records, dates)],
    )
    if "company_name" in fields:
        rows["typed_company_name"] = texts(record["company_name"] for record in records)
    rows["company_if_field"] = flags(any(record[name] for name in company_if) for record in records)
    because = joined(
        [
            found.incomplete_because,
            unseen_because(client, companies),
            *not_customers.incomplete_because,
            mailing.incomplete_because,
        ]
    )
    return PartnersRead(
        rows,
        observed_at,
        not because,
        because,
        (*not_customers.notes, *mailing.notes),
        has_company_types=typed,
        database=database_mark(client),
    )


def _stale(client: OdooClient, domain: Domain, undated: Iterable[str]) -> Stale:
    """Finds partners that changed without a new write_date.

    A merge deletes partners and points their contacts to the survivor by SQL; a deleted parent leaves its
    contacts without one. A tag linked from its own side dates the tag, not the partner. Numbers and flags set
    by SQL are compared as lists of ids.
    """

    def stale(known: Mapping[int, Record], listed: Sequence[int], since: datetime) -> set[int]:
        there = {*listed, False}
        found = {
            partner
            for partner, record in known.items()
            if record["parent_id"] not in there or record["commercial_partner_id"] not in there
        }
        for tag in client.search("res.partner.category", changed_since(since), order="id"):
            tagged = client.search(_MODEL, [*domain, ("category_id", "in", [tag])], order="id")
            found |= {partner for partner, record in known.items() if tag in record["category_id"]} ^ {
                *tagged
            }
        for name in undated:
            condition = (name, ">", 0) if name == "supplier_rank" else (name, "=", True)
            marked = client.search(_MODEL, [*domain, condition], order="id")
            found |= {partner for partner, record in known.items() if record[name]} ^ {*marked}
        return found

    return stale


def _blacklisted(client: OdooClient, domain: Domain) -> frozenset[int]:
    """Ids of partners whose address is on the blacklist.

    Searched and not read: under ``active_test: False`` the computed field is_blacklisted counts archived
    blacklist rows as well, so that it is True for people whose opt-out was removed (Odoo 17 to 19); its
    search looks at active rows only. It works without the rights on mail.blacklist.
    """
    return frozenset(client.search(_MODEL, [*domain, ("is_blacklisted", "=", True)], order="id"))


def _rows(
    client: OdooClient,
    records: list[Record],
    groups: Mapping[str, Set[int]],
    evidence: Sequence[Mapping[str, list[Evidence]]],
) -> pd.DataFrame:
    names = {record["id"]: record["name"] for record in records if record["is_company"]}
    tags = read_tag_paths(client)
    countries = _lookup(client, "res.country", "code", records, "country_id")
    states = _lookup(client, "res.country.state", "name", records, "state_id")
    industries = _lookup(client, "res.partner.industry", "name", records, "industry_id")
    # Odoo orders them by name, which changes with every name.
    known_tags = [sorted(tag for tag in record["category_id"] if tag in tags) for record in records]
    return frame(
        {
            "partner_id": ids(record["id"] for record in records),
            "active": flags(record["active"] for record in records),
            "name": names_of(record["name"] for record in records),
            "first_name": texts(record.get("firstname") for record in records),
            "last_name": texts(record.get("lastname") for record in records),
            "email": texts(record["email"] for record in records),
            "email_normalized": texts(record["email_normalized"] for record in records),
            "is_company": flags(record["is_company"] for record in records),
            "parent_id": optional_ids(record["parent_id"] for record in records),
            "commercial_partner_id": ids(
                record["commercial_partner_id"] or record["id"] for record in records
            ),
            "company_id": optional_ids(record["company_id"] for record in records),
            "type": texts(record["type"] or "contact" for record in records),
            "lang": texts(record["lang"] for record in records),
            "street": texts(record["street"] for record in records),
            "street2": texts(record["street2"] for record in records),
            "zip": texts(record["zip"] for record in records),
            "city": texts(record["city"] for record in records),
            "state": texts(states.get(record["state_id"]) for record in records),
            "country_code": texts(countries.get(record["country_id"]) for record in records),
            "phone": texts(record["phone"] or record.get("mobile") for record in records),
            "company_name": texts(
                record.get("commercial_company_name") or names.get(record["commercial_partner_id"])
                for record in records
            ),
            "company_known_by": texts("odoo" for _ in records),
            "differs_without_memory": flags(False for _ in records),
            "tax_id_mark": texts(tax_id_mark(record["id"], record.get("vat")) for record in records),
            "name_by_odoo": texts(record.get("commercial_company_name") for record in records),
            "industry": texts(industries.get(record.get("industry_id")) for record in records),
            "tag_ids": lists(known_tags),
            "tag_names": lists([tags[tag] for tag in known] for known in known_tags),
            "supplier_rank": integers(record.get("supplier_rank") for record in records),
            "message_bounce": integers(record.get("message_bounce") for record in records),
            **{
                name: flags(record["id"] in members for record in records) for name, members in groups.items()
            },
            "evidence_json": texts(
                _evidence_json(record["email_normalized"], evidence) for record in records
            ),
            "write_date": times(record["write_date"] for record in records),
        }
    )


def _evidence_json(address: str | bool, evidence: Sequence[Mapping[str, list[Evidence]]]) -> str:
    found = [item for by_address in evidence for item in by_address.get(str(address), ())] if address else []
    found.sort(key=lambda item: (item["kind"], item["source"], item["record_id"], item["consented_at"] or ""))
    return canonical_json(found)


def _lookup(
    client: OdooClient, model: str, field: str, records: list[Record], link: str
) -> dict[object, str]:
    """A field of the records that partners link to, by id; nothing when the model is not there."""
    linked = sorted({record[link] for record in records if record.get(link)})
    if not linked or optional_model_fields(client, model) is None:
        return {}
    return {record["id"]: record[field] for record in client.read(model, linked, [field])}
