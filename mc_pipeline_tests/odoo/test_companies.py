"""Whose partners a company's are (rule 2.2), and what became of partners that are none of its any more."""

from collections.abc import Iterator

import pytest

from mc_pipeline.odoo.client import ConnectedClient
from mc_pipeline.odoo.companies import (
    names_of_companies,
    partners_of,
    unseen_because,
    with_companies_above,
)
from mc_pipeline.odoo.opt_outs_since import read_partners_of
from mc_pipeline.odoo.partners import read_partners
from mc_pipeline.odoo.partners_elsewhere import SPARE_CALLS, PartnerFate, customers_elsewhere, fates_of
from mc_pipeline.odoo.reading import is_right_missing
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.odoo.conftest import logged_in


class Group:
    """Company 1 with a branch, which has a branch of its own; and a company beside them."""

    def __init__(self, odoo: SandboxOdoo) -> None:
        self.odoo = odoo
        self.branch = odoo.add_company("Branch")
        self.shop = odoo.add_company("Shop")
        self.lumen = odoo.add_company("Lumen")
        odoo.write("res.company", self.branch, {"parent_id": 1})
        odoo.write("res.company", self.shop, {"parent_id": self.branch})

    def partner(self, name: str, company: int | bool) -> int:
        return self.odoo.add_partner(name=name, email=f"{name}@example.com", company_id=company)

    def order(self, partner: int, company: int) -> int:
        return self.odoo.add_order(partner, 10.0, company_id=company)


@pytest.fixture
def group(sandbox: SandboxOdoo) -> Group:
    return Group(sandbox)


@pytest.fixture(params=["admin", "sales"])
def connected(request: pytest.FixtureRequest, group: Group) -> Iterator[ConnectedClient]:
    """An administrator, or a user of the smallest branch and the company beside it who sees no other."""
    if request.param == "admin":
        with logged_in(group.odoo, companies=(group.shop,)) as client:
            yield client
    else:
        group.odoo.add_user(
            "sales",
            "sales",
            company_ids=(group.shop, group.lumen),
            groups=("sales_all", "email_marketing", "hr"),
        )
        with logged_in(group.odoo, "sales", "sales", companies=(group.shop,)) as client:
            yield client


def test_2_2_a_branch_has_the_partners_of_every_company_above_it_and_of_no_other(
    group: Group, connected: ConnectedClient
) -> None:
    own = {
        group.partner(f"p{position}", company)
        for position, company in enumerate((group.shop, group.branch, 1, False))
    }
    theirs = group.partner("theirs", group.lumen)
    assert with_companies_above(connected, group.shop) == (group.shop, group.branch, 1)
    table = read_partners(connected, group.shop)
    assert table.complete
    assert own <= set(table.rows["partner_id"])
    assert theirs not in set(table.rows["partner_id"])
    addresses = [f"p{number}@example.com" for number in range(4)] + ["theirs@example.com"]
    assert set(read_partners_of(connected, group.shop, addresses)["partner_id"]) == own


@pytest.fixture
def group_on_17() -> Iterator[Group]:
    with SandboxOdoo((17, 0)).serve() as served:
        yield Group(served)


def test_2_2_on_17_the_user_of_a_branch_has_to_have_the_companies_above_it(group_on_17: Group) -> None:
    group = group_on_17
    own = {group.partner("own", group.shop), group.partner("shared", False)}
    above = group.partner("above", group.branch)
    addresses = ["own@example.com", "shared@example.com", "above@example.com"]
    both = (group.shop, group.branch, 1)
    for user, companies in (("all", both), ("some", (group.shop, 1))):
        group.odoo.add_user(user, user, company_ids=companies, groups=("sales_all", "email_marketing", "hr"))
    with logged_in(group.odoo, "all", "all", companies=(group.shop,)) as client:
        table = read_partners(client, group.shop)
        assert table.complete
        assert {*own, above} <= set(table.rows["partner_id"])
        assert set(read_partners_of(client, group.shop, addresses)["partner_id"]) == {*own, above}
    with logged_in(group.odoo, "some", "some", companies=(group.shop,)) as client:
        table = read_partners(client, group.shop)
        assert table.incomplete_because == (
            f"the Odoo user may not see the contacts of company {group.branch}, above company {group.shop}: "
            "before Odoo 18 only users of that company see them; add it to the Allowed Companies of the "
            "user. If it is archived, nobody can: then move those contacts to another company, or share them"
        )
        assert is_right_missing(table.incomplete_because)
        assert own <= set(table.rows["partner_id"])
        assert above not in set(table.rows["partner_id"])


def test_2_2_on_17_nobody_is_told_to_add_a_company_above_that_is_archived(group_on_17: Group) -> None:
    group = group_on_17
    group.odoo.add_user(
        "some", "some", company_ids=(group.shop, 1), groups=("sales_all", "email_marketing", "hr")
    )
    with logged_in(group.odoo, "some", "some", companies=(group.shop,)) as client:
        above = with_companies_above(client, group.shop)
        assert "Allowed Companies" in unseen_because(client, above)
        group.odoo.write("res.company", group.branch, {"active": False})
        because = unseen_because(client, above)
    with logged_in(group.odoo, companies=(group.shop,)) as client:
        assert unseen_because(client, above) == ""
    # whether it is archived shows only where the user may read that company
    assert because == "" or "If it is archived, nobody can" in because


def test_2_2_a_company_does_not_have_the_partners_of_its_branches(group: Group) -> None:
    theirs = group.partner("theirs", group.branch)
    with logged_in(group.odoo) as client:
        assert with_companies_above(client, 1) == (1,)
        assert theirs not in set(read_partners(client, 1).rows["partner_id"])


def test_2_2_an_archived_company_above_is_never_asked_for_and_its_partners_are_seen(group: Group) -> None:
    partner = group.partner("old", group.branch)
    group.odoo.write("res.company", group.branch, {"active": False})
    with logged_in(group.odoo, companies=(group.shop,)) as client:
        table = read_partners(client, group.shop)
    assert table.complete
    assert partner in set(table.rows["partner_id"])
    bodies = str([request.body for request in group.odoo.journal.requests])
    assert f"'allowed_company_ids': [{group.branch}]" not in bodies
    assert "allowed_company_ids" in bodies


def test_companies_are_named_and_by_their_id_where_the_name_may_not_be_read(
    group: Group, connected: ConnectedClient
) -> None:
    assert names_of_companies(connected, [group.lumen, 99]) == {group.lumen: "Lumen", 99: "id 99"}


def test_2_2_customers_of_orders_here_who_belong_elsewhere_are_found_with_their_company(
    group: Group, connected: ConnectedClient
) -> None:
    theirs, above, shared = (
        group.partner(name, company)
        for name, company in (("theirs", group.lumen), ("above", 1), ("shared", False))
    )
    silent = group.partner("silent", group.lumen)
    for partner in (theirs, above, shared):
        group.order(partner, group.shop)
    group.order(silent, group.lumen)
    assert customers_elsewhere(connected, group.shop) == {theirs: "Lumen"}


def test_2_2_a_customer_whom_the_user_cannot_see_is_only_unknown(group: Group) -> None:
    theirs = group.partner("theirs", group.lumen)
    group.order(theirs, 1)
    group.odoo.add_user("sales", "sales", groups=("sales_all", "email_marketing", "hr"))
    with logged_in(group.odoo, "sales", "sales") as client:
        assert customers_elsewhere(client, 1) == {}


def test_6_1_deleted_merged_moved_hidden_and_present_partners_are_told_apart(
    group: Group, connected: ConnectedClient
) -> None:
    odoo = group.odoo
    kept, moved, above, deleted, merged, hidden, survivor = (
        group.partner(name, group.shop)
        for name in ("kept", "moved", "above", "deleted", "merged", "hidden", "survivor")
    )
    odoo.edit_partner(moved, company_id=group.lumen)
    odoo.edit_partner(above, company_id=1)
    odoo.unlink("res.partner", deleted)
    odoo.merge_partners(survivor, merged)
    odoo.hide("res.partner", [hidden])
    asked = [kept, moved, above, deleted, merged, hidden]
    if connected.user_id != 2:  # partners of company 1 are above the shop, but the user does not have it
        asked.remove(above)
    fates = fates_of(connected, group.shop, asked)
    expected = {
        kept: PartnerFate(fate="here"),
        moved: PartnerFate(fate="moved", company="Lumen"),
        above: PartnerFate(fate="here"),
        deleted: PartnerFate(fate="deleted"),
        merged: PartnerFate(fate="merged", merged_into=survivor),
        hidden: PartnerFate(fate="hidden"),
    }
    assert fates == {partner: expected[partner] for partner in asked}


def test_6_1_many_hidden_and_deleted_partners_are_told_apart(group: Group) -> None:
    partners = [group.partner(f"many{number}", 1) for number in range(40)]
    hidden, deleted = set(partners[::3]), set(partners[1::3])
    group.odoo.unlink("res.partner", sorted(deleted))
    group.odoo.hide("res.partner", sorted(hidden))
    with logged_in(group.odoo) as client:
        fates = fates_of(client, 1, partners)
    assert {partner for partner, fate in fates.items() if fate.fate == "hidden"} == hidden
    assert {partner for partner, fate in fates.items() if fate.fate == "deleted"} == deleted
    assert {fates[partner].fate for partner in partners[2::3]} == {"here"}


def test_6_1_of_many_hidden_partners_some_are_asked_for_and_the_others_count_as_hidden(group: Group) -> None:
    hidden = [group.partner(f"hidden{number}", 1) for number in range(200)]
    there, deleted = group.partner("there", 1), group.partner("deleted", 1)
    group.odoo.unlink("res.partner", deleted)
    group.odoo.hide("res.partner", hidden)
    with logged_in(group.odoo) as client:
        with_companies_above(client, 1)
        group.odoo.journal.clear()
        fates = fates_of(client, 1, [*hidden, there, deleted])
        assert len(group.odoo.journal.requests) < SPARE_CALLS + 10
    assert fates[there] == PartnerFate(fate="here")
    assert {fates[partner].fate for partner in hidden} == {"hidden"}
    assert not any(fates[partner].told_apart for partner in hidden[100:])
    # nothing is done about it until there are calls left to tell
    assert fates[deleted] == PartnerFate(fate="hidden", told_apart=False)


def test_6_1_where_the_notes_may_not_be_read_the_survivor_is_not_known(group: Group) -> None:
    first, second, last, lone = (group.partner(name, 1) for name in ("first", "second", "last", "lone"))
    group.odoo.merge_partners(second, first)
    group.odoo.unlink("res.partner", lone)
    with logged_in(group.odoo) as client:
        group.odoo.deny(client.user_id, "mail.message")
        unknown = PartnerFate(fate="deleted", survivor_known=False)
        assert fates_of(client, 1, [first, lone]) == {first: unknown, lone: unknown}
        group.odoo.merge_partners(last, second)
        assert fates_of(client, 1, [first, lone], {first: second}) == {
            first: PartnerFate(fate="merged", merged_into=second),
            lone: unknown,
        }


def test_6_1_a_merge_is_followed_to_the_last_survivor_and_its_note_is_looked_for_once(group: Group) -> None:
    first, second, last = (group.partner(name, 1) for name in ("first", "second", "last"))
    group.odoo.merge_partners(second, first)
    group.odoo.merge_partners(last, second)
    with logged_in(group.odoo) as client:
        assert fates_of(client, 1, [first]) == {first: PartnerFate(fate="merged", merged_into=last)}
        group.odoo.journal.clear()
        known = {first: last, second: None}
        assert fates_of(client, 1, [first, second], known) == {
            first: PartnerFate(fate="merged", merged_into=last),
            second: PartnerFate(fate="deleted"),
        }
    assert "mail.message" not in str([request.body for request in group.odoo.journal.requests])


def test_the_domain_names_the_companies_and_none() -> None:
    assert partners_of((4, 1)) == ["|", ("company_id", "in", [1, 4]), ("company_id", "=", False)]
