"""No plan leaks: contacts by the real rules from any partners and orders, members and records of any kind.

``test_changes_properties`` makes up contacts by hand, so that it cannot find what the rules for contacts and
the check of leaks see differently.
"""

import os
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mc_pipeline.domain.completeness import AudienceInDoubt, Completeness
from mc_pipeline.domain.contacts.contacts import build_contacts
from mc_pipeline.domain.plan.leaks import LeakFacts, find_leaks
from mc_pipeline.domain.plan.plan import decide_changes
from mc_pipeline.settings import CompanySettings
from mc_pipeline_tests.domain.audience_model import EARLIER, NOW, Audiences, Member, Record, plan_inputs
from mc_pipeline_tests.domain.odoo_rows import (
    Row,
    built,
    company,
    contact_inputs,
    order,
    orders_table,
    partner,
    partners_table,
    reasons,
    subscription,
)

EMAILS = [f"{letter}@example.com" for letter in "abcde"]
AUDIENCE_OF = {"listwholesale": "wholesale", "listretail": "retail"}
MEMBERS_STATUSES = ["subscribed", "unsubscribed", "cleaned", "pending", *["transactional"] * 2, "archived"]
NEVER = ["is_internal_user", "is_employee", "is_own_company", "is_public_or_template_user"]
TAGS = ["VIP", "B2B", "own", "odoo-not-qualifying"]


def rarely(value: Any, otherwise: Any = False) -> st.SearchStrategy[Any]:
    return st.sampled_from([*[otherwise] * 5, value])


@st.composite
def partner_rows(draw: st.DrawFn) -> list[Row]:
    rows: list[Row] = []
    for number in range(1, draw(st.integers(2, 6)) + 1):
        email = draw(st.sampled_from([*EMAILS, *EMAILS, None, "A@Example.com", "no address"]))
        parent = draw(st.none() | st.integers(1, number - 1)) if number > 1 else None
        flag = draw(st.sampled_from([None] * 12 + NEVER))
        consented_at = draw(
            st.sampled_from([None, None, "2025-12-01T10:00:00+00:00", "2026-02-01T10:00:00+00:00"])
        )
        said = [subscription(email.lower(), consented_at, opted_out=draw(rarely(True)))] if email else []
        rows.append(
            partner(
                number,
                email,
                name=draw(st.sampled_from(["ann", "ben"])),
                is_company=draw(st.booleans()),
                active=draw(rarely(False, True)),
                type=draw(rarely("delivery", "contact")),
                supplier_rank=draw(rarely(1, 0)),
                message_bounce=draw(rarely(9, 0)),
                is_blacklisted=draw(rarely(True)),
                tags=[5] if draw(rarely(True)) else [],
                evidence=said if draw(st.booleans()) else [],
                **({"parent_id": parent} if parent else {}),
                **({flag: True} if flag else {}),
            )
        )
    return rows


order_rows = st.lists(
    st.tuples(
        st.integers(1, 6),
        st.integers(1, 6),
        st.sampled_from([10.0, 6000.0]),
        st.sampled_from(["sale", "sale", "sale", "cancel"]),
    ),
    max_size=6,
).map(
    lambda drawn: [
        order(number, customer, amount, partner_invoice_id=invoiced, state=state)
        for number, (customer, invoiced, amount, state) in enumerate(drawn, 1)
    ]
)

CONSENTS: list[dict[str, Any]] = [
    {"mailing_list": "Newsletter"},
    {"mailing_list": "Newsletter", "upgrade": True},
    {"mailing_list": "Newsletter", "without_evidence": "leave_out"},
    {"mailing_list": "Newsletter", "send_confirmation": True, "max_confirmations": 2},
    {"mailing_list": "Newsletter", "marketing_permissions": ["Email"]},
]


@st.composite
def companies(draw: st.DrawFn) -> CompanySettings:
    shared = {
        "consent": draw(st.sampled_from(CONSENTS)),
        "merge_fields": {"FNAME": "first_name", "ORDERS": "order_count"},
    }
    vip = {"VIP": {"field": "total_spent", "at_least": 5000}}
    return company(
        {
            "wholesale": {**shared, "when": {"company_type": "company"}, "tags": {"B2B": "always", **vip}},
            "retail": {**shared, "when": draw(st.sampled_from([{}, {"no_tag": [5]}])), "tags": vip},
        },
        exclude_suppliers=draw(st.booleans()),
        duplicates=draw(st.sampled_from(["most_recent_order", "set_aside"])),
        customers={"contacts": draw(st.sampled_from(["order", "order_and_children"]))},
    )


keys = st.sampled_from([(list_id, email) for list_id in AUDIENCE_OF for email in EMAILS])
members = st.builds(
    Member,
    st.sampled_from(MEMBERS_STATUSES),
    st.just({"FNAME": "ann"}),
    st.frozensets(st.sampled_from(TAGS), max_size=2),
    permissions=st.sampled_from([None, {"Email": False}]),
)
records = st.builds(
    Record,
    created_by_us=rarely(False, True),
    created_status=st.sampled_from(["transactional", "pending", None]),
    created_at=st.sampled_from([EARLIER, None]),
    tags=st.sampled_from([(), ("VIP",)]),
    archived_by_us=st.booleans(),
    ever_subscribed=rarely(True),
    opted_out=rarely(True),
    partner_id=st.none() | st.integers(1, 7),
    name_sent=st.sampled_from(["ann", "ben"]),
    last_status=st.sampled_from([None, "transactional", "subscribed"]),
    vanished=rarely(True),
)


@dataclass(frozen=True)
class World:
    """Both systems, the ledger, and what is known of them."""

    partners: list[Row]
    orders: list[Row]
    settings: CompanySettings
    audiences: Audiences
    opted_out: frozenset[str]
    blacklisted: frozenset[str]
    asks_to_confirm: frozenset[str]
    opened: frozenset[str]
    subscribed_by_us: frozenset[tuple[str, str]]
    unread: str

    def leaks(self) -> pd.DataFrame:
        """Plan by the real rules, and judge the plan by the same tables."""
        partners, orders = partners_table(self.partners), orders_table(self.orders)
        unread = {self.unread: AudienceInDoubt(AUDIENCE_OF[self.unread])} if self.unread else {}
        seen = {key: member for key, member in self.audiences.members.items() if key[0] != self.unread}
        table = Audiences(seen).members_table()
        table["audience"] = table["list_id"].map(AUDIENCE_OF)
        decided = build_contacts(
            contact_inputs(
                partners,
                orders,
                self.settings,
                opted_out_emails=self.opted_out,
                double_optin_audiences={AUDIENCE_OF[list_id] for list_id in self.asks_to_confirm},
            )
        )
        plan = decide_changes(
            plan_inputs(
                contacts=decided.contacts,
                members=table,
                records=self.audiences.records_table(),
                company=self.settings,
                partners=partners,
                set_aside=decided.set_aside,
                completeness=Completeness(audiences=unread),
                planned_at=NOW,
                blacklisted_emails=self.blacklisted,
                opted_out_ever=self.opted_out,
                double_optin_list_ids=self.asks_to_confirm,
                first_load_list_ids=frozenset(AUDIENCE_OF) - self.opened,
                permission_list_ids=frozenset(AUDIENCE_OF),
                subscribed_by_us=self.subscribed_by_us,
            )
        ).plan
        return find_leaks(
            plan,
            LeakFacts(
                company=self.settings,
                contacts=decided.contacts,
                partners=partners,
                members=table,
                opted_out_ever=self.opted_out,
                blacklisted_emails=self.blacklisted,
            ),
        )


some_emails = st.frozensets(st.sampled_from(EMAILS), max_size=1)
some_lists = st.frozensets(st.sampled_from(sorted(AUDIENCE_OF)))
worlds = st.builds(
    World,
    partner_rows(),
    order_rows,
    companies(),
    st.builds(
        Audiences,
        st.dictionaries(keys, members, max_size=8),
        st.dictionaries(keys, records, max_size=9),
    ),
    some_emails,
    some_emails,
    some_lists,
    some_lists,
    st.frozensets(keys, max_size=4),
    rarely("listretail", ""),
)


# A few worlds in every run; MC_PIPELINE_EXAMPLES=2000 (with --timeout=0) searches on for some minutes.
@settings(
    max_examples=int(os.environ.get("MC_PIPELINE_EXAMPLES", "15")),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking a world takes minutes
    suppress_health_check=list(HealthCheck),
)
@given(worlds)
def test_no_plan_leaks_whatever_the_world_is_like(world: World) -> None:
    leaks = world.leaks()
    assert leaks.empty, leaks[["operation", "email", "partner_id", "reason"]].to_string()


SHARED = "ann@example.com"


@pytest.mark.parametrize(
    "supplier",
    [
        {"supplier_rank": 1},
        {"supplier_rank": 1, "active": False},
        {"supplier_rank": 1, "type": "invoice"},
        {"parent_id": 9, "active": False},
    ],
    ids=["a second partner", "an archived partner", "a postal address", "an archived person of a supplier"],
)
@pytest.mark.parametrize("excluded", [True, False])
def test_2_4_a_supplier_is_one_through_whichever_partner_with_the_address(
    supplier: dict[str, Any], excluded: bool
) -> None:
    partners = [partner(1, SHARED), partner(2, SHARED, **supplier), partner(9, None, supplier_rank=2)]
    result = built(partners, [order(1, 1)], company(exclude_suppliers=excluded))
    assert list(result.contacts["email"]) == ([] if excluded else [SHARED])
    assert reasons(result).get(1) == ("supplier" if excluded else None)


def test_an_archived_supplier_with_the_address_of_a_customer_stops_no_push() -> None:
    """The customer was planned, and the check took the plan for a fault of the program."""
    world = World(
        [partner(1, EMAILS[0]), partner(2, EMAILS[0], active=False, supplier_rank=1)],
        [order(1, 1)],
        company(
            {
                "wholesale": {"when": {"company_type": "company"}},
                "retail": {"when": {}, "merge_fields": {"ORDERS": "order_count"}},
            },
            exclude_suppliers=True,
        ),
        Audiences(
            {("listretail", EMAILS[0]): Member()},
            {("listretail", EMAILS[0]): Record(created_by_us=True, partner_id=1)},
        ),
        *[frozenset()] * 5,
        unread="",
    )
    assert world.leaks().empty
