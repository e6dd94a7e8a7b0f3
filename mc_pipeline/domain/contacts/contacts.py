"""Partners and orders in; contacts, and the partners set aside with the reason, out.

The rules of the neighbouring modules applied in their order to whole tables. ``decide`` keeps every step of
the decision, ``build_contacts`` shows the result, and ``explanation`` explains it for one person.
"""

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mc_pipeline.digests import canonical_json
from mc_pipeline.domain.columns import lower, map_texts, texts, times
from mc_pipeline.domain.company import AmountRule, CompanyRules
from mc_pipeline.domain.consent.evidence import BOOLEAN_FIELD, Evidence, parse_evidence, require_one_list
from mc_pipeline.domain.consent.status_for_new import LEFT_OUT, StatusDecision, status_for_new
from mc_pipeline.domain.contacts.merge_fields import ContactFacts, desired_merge_fields, one_name, split_name
from mc_pipeline.domain.contacts.people import (
    attribute_orders,
    contact_persons_of_customers,
    find_never_contacts,
    first_reason,
    judge_partners,
    rank_partners,
    stand_for_invoice_addresses,
    sum_purchases,
)
from mc_pipeline.domain.contacts.routing import (
    JointRoute,
    Routes,
    RoutingFacts,
    agree_on_route,
    meets_amount,
    route,
)
from mc_pipeline.domain.contacts.set_aside import are_suppliers, describe_set_aside, why_no_contact
from mc_pipeline.domain.contacts.tags import TagCatalogue


@dataclass(frozen=True)
class ContactsResult:
    """Who should be in which audience, and who should not.

    ``contacts``: one row per address that should be in an audience, ordered by address. ``set_aside``: one
    row per partner left out, ordered by id. ``unattributed_orders``: confirmed orders that count to nobody,
    since neither customer nor invoice address has a usable e-mail (``order_id``, ``customer_id``).
    ``notes``: sentences about settings that find nothing.
    """

    contacts: pd.DataFrame
    set_aside: pd.DataFrame
    unattributed_orders: pd.DataFrame
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Decision:
    """Every step of the decision about a company's contacts.

    ``partners``: all partners, judged. ``orders``: confirmed orders with the person they count to.
    ``persons``: one row per address that stands for a person, indexed by it: ``winner``, ``partner_ids``
    (winner first), ``size`` (active partners that share it), purchases, ``reason`` (why it is no contact,
    empty when it is one), ``audience`` and so on. ``facts``, ``routes``: how the partners of customers route.
    ``statuses``: what contacts would be created as.
    """

    company: CompanyRules
    catalogue: TagCatalogue
    partners: pd.DataFrame
    orders: pd.DataFrame
    persons: pd.DataFrame
    facts: RoutingFacts
    routes: Routes
    statuses: Mapping[str, StatusDecision]
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, kw_only=True, eq=False)
class ContactInputs:
    """What decides who should be in which audience of a company.

    Nothing of it has a default: who leaves something out would decide otherwise than the sync does.

    Attributes:
        partners: rows of ``odoo_partners``, archived ones included.
        orders: rows of ``odoo_orders``. Amounts are ``kept_untaxed_company``, or ``amount_untaxed_company``
            where credit notes were not read.
        company: the company's settings.
        opted_out_emails: addresses that ever unsubscribed, were cleaned or complained, in any audience of any
            company; their evidence of consent is void.
        double_optin_audiences: keys of the audiences that ask people to confirm.
        known_tags: every tag of Odoo (id to full path); a name it lacks is then refused. None where Odoo is
            not asked for them: the tags are those that partners have.
        bound_orders: ids of orders that count to their customer or to nobody, never to the invoice address
            (``people.orders_bound_to_customer``).
    """

    partners: pd.DataFrame
    orders: pd.DataFrame
    company: CompanyRules
    opted_out_emails: Set[str]
    double_optin_audiences: Set[str]
    known_tags: Mapping[int, str] | None
    bound_orders: Collection[int]


def build_contacts(inputs: ContactInputs) -> ContactsResult:
    """Decide who should be in which audience of a company.

    Returns:
        Contacts and set-aside rows. People who are only not *created* (blacklisted in Odoo, without evidence
        where that is asked for, shared addresses with ``duplicates: set_aside``) are contacts with an empty
        ``status_for_new``: an existing member's fields stay right. The last two kinds are in ``set_aside``
        as well.

    Raises:
        RuleError: a setting fits several records of Odoo, or a table has an id twice.
    """
    decision = decide(inputs)
    unattributed = decision.orders.loc[decision.orders["person_email"].isna(), ["order_id", "customer_id"]]
    return ContactsResult(
        contacts=list_contacts(decision),
        set_aside=list_set_aside(decision),
        unattributed_orders=unattributed.reset_index(drop=True),
        notes=decision.notes,
    )


def decide(inputs: ContactInputs) -> Decision:
    """Take every decision about a company's contacts; errors as ``build_contacts``."""
    company = inputs.company
    judged = judge_partners(inputs.partners)
    attributed = attribute_orders(judged, inputs.orders, inputs.bound_orders)
    judged = stand_for_invoice_addresses(judged, attributed)
    catalogue = (
        TagCatalogue.from_partners(judged)
        if inputs.known_tags is None
        else TagCatalogue(inputs.known_tags, complete=True)
    )
    ranked = rank_partners(judged, attributed)
    persons = _gather_persons(judged, ranked, attributed, company)
    persons["ever_opted_out"] = persons.index.isin(lower(inputs.opted_out_emails))

    rows = ranked[ranked["person_email"].isin(persons.index[persons["qualifies"]])]
    amounts = persons[["order_count", "total_spent", "first_order_day", "last_order_day"]].rename(
        columns={"first_order_day": "first_order_date", "last_order_day": "last_order_date"}
    )
    facts = RoutingFacts(rows.join(amounts, on="person_email"), judged)
    routes = route(facts, company.audiences, catalogue)
    _route_persons(persons, facts, routes, company)
    persons["reason"] = why_no_contact(persons, company)
    persons.loc[persons["reason"] != "", "audience"] = None

    statuses = _decide_statuses(persons, judged, company, inputs.double_optin_audiences)
    return Decision(
        company=company,
        catalogue=catalogue,
        partners=judged,
        orders=attributed,
        persons=persons,
        facts=facts,
        routes=routes,
        statuses=statuses,
        notes=tuple(_notes(company, catalogue)),
    )


def _gather_persons(
    judged: pd.DataFrame, ranked: pd.DataFrame, attributed: pd.DataFrame, company: CompanyRules
) -> pd.DataFrame:
    """Make one row per address of a person, from all partners with the address."""
    winners = ranked.drop_duplicates("person_email").sort_values("person_email")
    persons = pd.DataFrame(
        {"winner": winners["partner_id"].to_numpy()},
        index=pd.Index(winners["person_email"], dtype=object, name="person_email"),
    )
    sharing = {email: [winner] for email, winner in zip(persons.index, persons["winner"], strict=True)}
    with_address = judged[judged["person_email"].isin(persons.index)]
    for email, partner in zip(with_address["person_email"], with_address["partner_id"], strict=True):
        if partner != sharing[email][0]:
            sharing[email].append(partner)
    persons["partner_ids"] = pd.Series(sharing, dtype=object).reindex(persons.index)

    ranked = ranked.assign(
        is_contact_person=ranked["partner_id"].isin(
            contact_persons_of_customers(judged, attributed)
            if company.customers.contacts == "order_and_children"
            else ()
        ),
    )
    grouped = ranked.groupby("person_email")
    persons["size"] = grouped.size()
    persons["bounces"] = grouped["message_bounce"].max()
    # As with employees: also through a partner that is archived or only a postal address.
    suppliers = set(with_address.loc[are_suppliers(with_address, judged), "person_email"])
    persons["is_supplier"] = persons.index.isin(suppliers)
    persons["is_contact_person"] = grouped["is_contact_person"].any()
    persons["is_blacklisted"] = with_address.groupby("person_email")["is_blacklisted"].any()

    persons = persons.join(find_never_contacts(judged)).join(sum_purchases(attributed))
    persons["never_as"] = texts(persons, "never_as")
    persons["order_count"] = persons["order_count"].fillna(0).astype("int64")
    persons["total_spent"] = persons["total_spent"].fillna(0.0)
    for column in ("first_order", "last_order"):
        moments = times(persons, f"{column}_date")
        persons[f"{column}_date"] = moments
        persons[f"{column}_day"] = moments.dt.tz_convert(company.timezone).dt.tz_localize(None).dt.normalize()
    persons["qualifies"] = (persons["order_count"] > 0) | persons["is_contact_person"]
    return persons


def _route_persons(persons: pd.DataFrame, facts: RoutingFacts, routes: Routes, company: CompanyRules) -> None:
    """Add ``audience``, ``conflict`` and ``outvoted`` (tuples of audiences), ``wins_as`` to the persons."""
    votes: dict[str, list[str | None]] = {}
    for email, audience in zip(facts.rows["person_email"], routes.audience, strict=True):
        votes.setdefault(email, []).append(audience)
    settled: dict[tuple[str | None, ...], JointRoute] = {}
    joint = {}
    for email, audiences in votes.items():
        key = tuple(audiences)
        if key not in settled:
            settled[key] = agree_on_route(key, company.audiences)
        joint[email] = settled[key]
    nowhere = JointRoute(None)
    found = [joint.get(email, nowhere) for email in persons.index]
    persons["audience"] = pd.Series([one.audience for one in found], index=persons.index, dtype=object)
    persons["conflict"] = pd.Series([one.conflict for one in found], index=persons.index, dtype=object)
    persons["outvoted"] = pd.Series([one.outvoted for one in found], index=persons.index, dtype=object)
    persons["wins_as"] = pd.Series([one.wins_as for one in found], index=persons.index, dtype=object)


def _decide_statuses(
    persons: pd.DataFrame, judged: pd.DataFrame, company: CompanyRules, double_optin_audiences: Set[str]
) -> dict[str, StatusDecision]:
    """Decide what every contact would be created as."""
    contacts = persons[persons["reason"] == ""]
    evidence = _evidence_by_address(judged, set(contacts.index))
    for rules in company.audiences.values():
        if rules.consent is not None:
            require_one_list((item for items in evidence.values() for item in items), rules.consent)
    without: dict[tuple[str, bool, bool], StatusDecision] = {}
    statuses = {}
    columns = zip(
        contacts.index, contacts["audience"], contacts["ever_opted_out"], contacts["is_blacklisted"],
        contacts["size"], strict=True,
    )  # fmt: skip
    for email, audience, ever_opted_out, blacklisted, size in columns:
        key = (audience, bool(ever_opted_out), bool(blacklisted))
        found = evidence.get(email, ())
        decision = None if found else without.get(key)
        if decision is None:
            decision = status_for_new(
                found,
                company.audiences[audience].consent,
                double_optin=audience in double_optin_audiences,
                ever_opted_out=key[1],
                blacklisted=key[2],
            )
            if not found:
                without[key] = decision
        if size > 1 and company.duplicates == "set_aside" and not blacklisted:
            decision = StatusDecision(LEFT_OUT, f"not created: {size} partners in Odoo share the address")
        statuses[email] = decision
    return statuses


def _evidence_by_address(judged: pd.DataFrame, addresses: Set[str]) -> dict[str, list[Evidence]]:
    """Collect the evidence about each address.

    Consent counts from partners that stand for the person (a ticked box on its own partner only); an opt-out
    counts from any partner, archived ones and postal addresses too.
    """
    found = texts(judged, "evidence_json")
    concerned = judged["person_email"].isin(addresses) & found.notna() & (found != "[]")
    evidence: dict[str, list[Evidence]] = {}
    rows = judged[concerned]
    columns = zip(rows["partner_id"], rows["person_email"], rows["is_person"], found[concerned], strict=True)
    for partner, email, is_person, text in columns:
        evidence.setdefault(email, []).extend(
            item
            for item in parse_evidence(text)
            if item.address == email and (item.opted_out or (is_person and _is_own(item, partner)))
        )
    return evidence


def _is_own(evidence: Evidence, partner: int) -> bool:
    return evidence.kind != BOOLEAN_FIELD or evidence.record_id in (None, partner)


def _notes(company: CompanyRules, catalogue: TagCatalogue) -> Iterable[str]:
    for key, audience in company.audiences.items():
        for name in ("any_tag", "all_tags", "no_tag"):
            for tag in catalogue.unknown(getattr(audience.when, name)):
                yield f"audiences.{key}.when.{name}: nobody has the tag {tag!r} in Odoo; check its name"


def list_contacts(decision: Decision, only: Collection[str] | None = None) -> pd.DataFrame:
    """Return one row per contact (of the addresses ``only``, when given), ordered by address."""
    company = decision.company
    persons = decision.persons[decision.persons["reason"] == ""]
    if only is not None:
        persons = persons[persons.index.isin(only)]
    winners = decision.partners.set_index("partner_id").loc[persons["winner"]]
    currency = decision.orders["currency"].dropna()
    company_currency = currency.iloc[0] if len(currency) else None

    whole_names = texts(winners, "name")
    is_company = winners["is_company"]
    first_names, last_names = texts(winners, "first_name"), texts(winners, "last_name")
    names = [
        split_name(name, first, last, is_company=company_record)
        for name, first, last, company_record in zip(
            whole_names, first_names, last_names, is_company, strict=True
        )
    ]
    company_names = texts(winners, "company_name")
    company_names = company_names.where(company_names.notna() | ~is_company, whole_names)
    languages = map_texts(texts(winners, "lang"), company.languages.get)

    all_facts = [
        ContactFacts(*values)
        for values in zip(
            persons["winner"].tolist(),
            whole_names,
            [first for first, _ in names],
            [last for _, last in names],
            company_names,
            is_company.tolist(),
            *(texts(winners, column) for column in ("industry", "street", "street2", "city", "state", "zip")),
            texts(winners, "country_code"),
            texts(winners, "phone"),
            languages,
            [company_currency] * len(persons),
            persons["order_count"].tolist(),
            persons["total_spent"].tolist(),
            _days(persons["first_order_day"]),
            _days(persons["last_order_day"]),
            strict=True,
        )
    ]
    addresses = [facts.address for facts in all_facts]
    audiences = persons["audience"].tolist()
    statuses = [decision.statuses[email] for email in persons.index]
    return pd.DataFrame(
        {
            "email": _objects(persons.index),
            "partner_id": persons["winner"].to_numpy(dtype="int64"),
            "partner_ids": _objects(persons["partner_ids"]),
            "audience": _objects(audiences),
            "audience_because": _objects(_audience_because(persons, decision)),
            "name": _objects(name or "" for name in whole_names),
            "first_name": _objects(facts.first_name for facts in all_facts),
            "last_name": _objects(facts.last_name for facts in all_facts),
            "one_name": _objects(map(one_name, first_names, last_names, is_company)),
            "company_name": _objects(company_names),
            "language": _objects(languages),
            "country_code": _objects(texts(winners, "country_code")),
            "address_json": _objects(canonical_json(one) if one else None for one in addresses),
            "phone": _objects(texts(winners, "phone")),
            "order_count": persons["order_count"].to_numpy(dtype="int64"),
            "total_spent": persons["total_spent"].to_numpy(dtype="float64"),
            "currency": _objects([company_currency] * len(persons)),
            "first_order_date": persons["first_order_date"].array,
            "last_order_date": persons["last_order_date"].array,
            "merge_fields_json": _objects(
                canonical_json(desired_merge_fields(company.audiences[audience].merge_fields, facts))
                for audience, facts in zip(audiences, all_facts, strict=True)
            ),
            "tags": _objects(_desired_tags(persons, company)),
            "evidence_json": _objects(
                canonical_json(one.evidence.as_json()) if one.evidence else None for one in statuses
            ),
            "status_for_new": _objects(one.status for one in statuses),
            "status_because": _objects(one.because for one in statuses),
            "several_addresses": winners["several_addresses"].to_numpy(dtype=bool),
        }
    )


def _objects(values: Iterable[Any]) -> pd.Series:
    return pd.Series(list(values), dtype=object)


def _days(midnights: pd.Series) -> list[Any]:
    return [None if pd.isna(day) else day.date() for day in midnights]


def _audience_because(persons: pd.DataFrame, decision: Decision) -> Iterable[str]:
    columns = zip(persons["audience"], persons["outvoted"], persons["wins_as"], strict=True)
    for audience, outvoted, wins_as in columns:
        because = decision.routes.because[audience]
        if outvoted:
            because += f" (partners with the same address match {', '.join(outvoted)} too; {wins_as} wins)"
        yield because


def _desired_tags(persons: pd.DataFrame, company: CompanyRules) -> list[list[str]]:
    """Return for every contact the tags of its audience that it should have, in alphabetical order."""
    amounts = persons[["order_count", "total_spent"]].assign(
        first_order_date=persons["first_order_day"], last_order_date=persons["last_order_day"]
    )
    tags: list[list[str]] = [[] for _ in range(len(persons))]
    for key, audience in company.audiences.items():
        members = (persons["audience"] == key).to_numpy(dtype=bool)
        for name in sorted(audience.tags):
            for position in np.flatnonzero(members & _has_tag(audience.tags[name], amounts)):
                tags[position].append(name)
    return tags


def _has_tag(rule: str | AmountRule, amounts: pd.DataFrame) -> np.ndarray:
    if isinstance(rule, str):
        return np.full(len(amounts), rule == "always")
    return meets_amount(rule, amounts)


def list_set_aside(decision: Decision, only: Collection[int] | None = None) -> pd.DataFrame:
    """Return one row per partner that is left out, with the first reason that applies, ordered by id.

    ``only``: of these partners, when given.
    """
    partners, persons = decision.partners, decision.persons
    if only is not None:
        partners = partners[partners["partner_id"].isin(only)]
    rows = partners[["partner_id", "excluded_as", "email_problem", "person_email", "is_person"]].copy()
    rows["email"] = texts(partners, "email")
    rows["supplier_rank"] = partners["supplier_rank"]
    known = persons[
        ["winner", "size", "bounces", "never_through", "is_supplier", "conflict", "audience", "reason"]
    ].rename(columns={"reason": "person_reason"})
    rows = rows.join(known, on="person_email")
    of_person = rows["is_person"]
    is_winner = of_person & (rows["winner"] == rows["partner_id"])
    rows["duplicate_of"] = rows["winner"].where(of_person & ~is_winner).astype("Int64")
    rows.loc[~of_person, "audience"] = None

    left_out = {email: one for email, one in decision.statuses.items() if one.status == LEFT_OUT}
    lacking = {email for email, one in left_out.items() if one.lacks_evidence}
    shared = is_winner & (rows["size"] > 1) & (decision.company.duplicates == "set_aside")
    reasons = {
        **{
            excluded: rows["excluded_as"] == excluded for excluded in rows["excluded_as"].unique() if excluded
        },
        **{problem: rows["email_problem"] == problem for problem in ("missing_email", "invalid_email")},
        "bounced": of_person & (rows["person_reason"] == "bounced"),
        "duplicate": of_person & ~is_winner,
    }
    reason = first_reason(reasons, rows.index)
    reason = reason.where((reason != "") | ~is_winner, rows["person_reason"])
    reason = reason.where((reason != "") | ~shared, "duplicate")
    reason = reason.where((reason != "") | ~rows["person_email"].isin(lacking), "without_evidence")
    rows["reason"] = reason
    rows.loc[shared & (reason == "duplicate"), "duplicate_of"] = rows["partner_id"]
    rows = rows[rows["reason"] != ""].reset_index(drop=True)
    rows["detail"], rows["fix"] = describe_set_aside(rows, decision.company)
    columns = ["partner_id", "email", "person_email", "audience", "reason", "detail", "fix", "duplicate_of"]
    return rows[columns]
