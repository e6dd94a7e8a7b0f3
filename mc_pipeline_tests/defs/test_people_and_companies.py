"""Contacts that are deleted, merged, moved or hidden in Odoo; branches; invoice addresses: in whole runs."""

from dataclasses import replace
from typing import Any

import pytest

from mc_pipeline.ledger.troubles import Trouble, TroubleKind
from mc_pipeline.odoo.errors import OdooServerError
from mc_pipeline.sandbox.odoo.fields import Field
from mc_pipeline.sync.person import tell_story
from mc_pipeline.tables.elsewhere import customers_elsewhere_in
from mc_pipeline_tests.defs.test_sync import ORDERED, customer
from mc_pipeline_tests.world import World

ONE_STORE = """
    audiences:
      retail:
        list_id: retail1
        merge_fields: {FNAME: first_name, SPENT: total_spent}
        tags: {B2C: always, VIP: {field: total_spent, at_least: 1000}}
        store: {id: acme-retail, name: ACME, currency: EUR}
"""


def company(key: str, odoo_id: int, audiences: str = ONE_STORE) -> str:
    return (
        f"  {key}:\n    odoo_company_id: {odoo_id}\n    mailchimp: main\n    timezone: Europe/Paris\n"
        f"    guards: {{orders_lowered: 100%}}\n{audiences}"
    )


def listed(world: World, key: str = "acme") -> dict[int, tuple[str, str]]:
    """Reason and detail of each partner that is set aside."""
    rows = world.table("set_aside", key).rows
    return {row["partner_id"]: (row["reason"], row["detail"]) for row in rows.to_dict("records")}


def excluded(world: World, key: str = "acme") -> dict[int, tuple[str, Any]]:
    rows = world.table("store_orders", key).rows
    return dict(
        zip(
            rows["order_id"], zip(rows["excluded_because"], rows["excluded_detail"], strict=True), strict=True
        )
    )


def others(world: World, number: int = 30) -> None:
    """So many customers beside those of a test that one of them less is no table that shrank too much."""
    for each in range(number):
        customer(world, f"other{each}@example.com")


def open_troubles(world: World, step: str, key: str = "acme") -> list[Trouble]:
    with world.systems() as systems:
        return [each.trouble for each in systems.ledger.troubles.open(key) if each.step == step]


def deny_once(world: World, model: str) -> None:
    """Take the right to read a model away from the user of the pipeline, for one run."""
    (uid,) = world.odoo.search("res.users", [("login", "=", "admin")])
    world.odoo.deny(uid, model)
    world.run()
    world.odoo.database.accounts[uid].denied.clear()


def forget_orders(world: World, partner: int) -> None:
    """What a person does before Odoo lets them delete a customer."""
    for order in world.odoo.search("sale.order", [("partner_id", "=", partner)]):
        world.odoo.cancel_order(order)
        world.odoo.unlink("sale.order", order)


@pytest.mark.long
def test_v3_members_whose_contact_is_gone_stop_qualifying_and_the_list_says_what_became_of_it(
    world: World,
):
    lumen = world.odoo.add_company("Lumen")
    world.configure(company("acme", 1))
    names = ("kept", "merged", "deleted", "moved", "hidden", "blanked", "subscribed", "survivor")
    at = {name: customer(world, f"{name}@example.com", spent=2000, company_id=1) for name in names}
    for number in range(100):
        customer(world, f"other{number}@example.com")
    world.mailchimp.add_member("retail1", "subscribed@example.com", status="subscribed")
    world.sync()
    status = world.mailchimp.status

    def tags(audience: str, email: str) -> list[str]:
        return sorted(world.mailchimp.tags(audience, email))

    assert tags("retail1", "merged@example.com") == ["B2C", "VIP"]

    world.odoo.merge_partners(at["survivor"], at["merged"])
    for name in ("deleted", "subscribed"):
        forget_orders(world, at[name])
        world.odoo.unlink("res.partner", at[name])
    world.odoo.edit_partner(at["moved"], company_id=lumen)
    world.odoo.hide("res.partner", [at["hidden"]])
    world.odoo.edit_partner(at["blanked"], email=False)
    world.run(push=False)
    plan = world.table("audience_plan").rows
    leaving = plan[plan["cause"] == "stopped_qualifying"]
    assert {row.email: row.because.removeprefix("stopped qualifying: ") for row in leaving.itertuples()} == {
        "merged@example.com": f"partner {at['merged']} was merged into partner {at['survivor']} in Odoo",
        "deleted@example.com": f"partner {at['deleted']} was deleted in Odoo",
        "subscribed@example.com": f"partner {at['subscribed']} was deleted in Odoo",
        "moved@example.com": f"partner {at['moved']} belongs to company Lumen now",
    }
    world.sync()

    reasons = listed(world)
    assert reasons[at["merged"]] == (
        "merged_in_odoo",
        f"was merged into partner {at['survivor']} in Odoo",
    )
    assert reasons[at["deleted"]] == ("deleted_in_odoo", "was deleted in Odoo")
    assert reasons[at["moved"]] == ("moved_to_other_company", "belongs to company Lumen now")
    assert reasons[at["hidden"]][0] == "hidden_in_odoo"
    assert reasons[at["blanked"]][0] == "missing_email"
    # transactional members whom we created and who were never subscribed
    for name in ("merged", "deleted", "moved"):
        assert status("retail1", f"{name}@example.com") == "archived", name
    assert status("retail1", "subscribed@example.com") == "subscribed"
    assert tags("retail1", "subscribed@example.com") == ["Odoo-not-qualifying"]
    for name in ("kept", "hidden", "blanked"):
        assert status("retail1", f"{name}@example.com") == "transactional", name
        assert tags("retail1", f"{name}@example.com") == ["B2C", "VIP"], name
    with world.systems() as systems:
        acme = world.settings.companies["acme"]
        stories = {
            name: tell_story(systems.ledger, acme, f"{name}@example.com").verdict
            for name in ("merged", "deleted", "moved", "hidden")
        }
    assert stories["merged"].startswith("Belongs in no audience: the contact was merged in Odoo")
    assert stories["deleted"].startswith("Belongs in no audience: the contact was deleted in Odoo")
    assert stories["moved"].startswith("Belongs in no audience: the contact belongs to another company")
    assert stories["hidden"].startswith(
        "Nothing is known now: the Odoo user is not allowed to see the contact"
    )

    (order,) = world.odoo.search("sale.order", [("partner_id", "=", at["moved"])])
    assert excluded(world)[order] == ("other_company", "customer belongs to company Lumen")
    world.mailchimp.journal.clear()
    world.sync()
    assert world.mailchimp.journal.writes == []


def test_6_1_an_incomplete_read_takes_nobody_for_gone(world: World):
    kept = customer(world, "kept@example.com")
    gone = customer(world, "gone@example.com")
    world.sync()
    forget_orders(world, gone)
    world.odoo.unlink("res.partner", gone)
    world.odoo.hide("res.partner", [kept])  # more than a tenth is missing
    world.run()
    assert not world.table("odoo_partners").complete
    assert world.mailchimp.status("retail1", "gone@example.com") == "transactional"
    assert gone not in listed(world)


@pytest.mark.long
def test_v4_a_customer_of_the_parent_who_orders_in_a_branch_is_a_customer_of_the_branch(world: World):
    branch, lumen = world.odoo.add_company("Branch"), world.odoo.add_company("Lumen")
    world.odoo.write("res.company", branch, {"parent_id": 1})
    world.mailchimp.add_audience("branch1", "Branch")
    of_branch = ONE_STORE.replace("retail1", "branch1").replace("acme-retail", "branch-retail")
    world.configure(company("acme", 1) + company("branch", branch, of_branch))
    both, parent_only, elsewhere = (
        world.odoo.add_partner(name=name, email=f"{name}@example.com", company_id=owner)
        for name, owner in (("both", 1), ("parent", 1), ("elsewhere", lumen))
    )
    world.odoo.add_order(parent_only, 10.0, date_order=ORDERED)
    here = world.odoo.add_order(both, 100.0, date_order=ORDERED, company_id=branch)
    theirs = world.odoo.add_order(elsewhere, 50.0, date_order=ORDERED, company_id=branch)
    for key in ("acme", "branch"):
        world.sync(key)
    assert set(world.mailchimp.statuses("branch1")) == {"both@example.com"}
    assert set(world.mailchimp.statuses("retail1")) == {"parent@example.com"}
    orders = excluded(world, "branch")
    assert orders[here][0] == ""
    assert orders[theirs] == ("other_company", "customer belongs to company Lumen")
    assert listed(world, "branch")[elsewhere][0] == "other_company"
    facts = world.table("revenue_reconciliation", "branch").rows
    assert set(facts.loc[facts["order_id"] == theirs, "left_out_because"]) == {"other_company"}

    # an opt-out of the parent's customer is carried from the branch's audience
    world.mailchimp.unsubscribe("branch1", "both@example.com")
    world.sync("branch")
    assert world.odoo.search("mail.blacklist", [("email", "=", "both@example.com"), ("active", "=", True)])


@pytest.mark.long
def test_v9_a_company_without_an_address_counts_to_its_invoice_address_and_keeps_its_orders(world: World):
    world.configure(company("acme", 1))
    firm = world.odoo.add_partner(name="Globex", is_company=True)
    bills = world.odoo.add_partner(
        name="Globex, Bills", email="bills@example.com", type="invoice", parent_id=firm
    )
    lost = customer(world, "lost@example.com")
    later = world.odoo.add_partner(name="Later", email="later@example.com", type="invoice", parent_id=lost)
    world.odoo.add_order(firm, 1500.0, date_order=ORDERED, partner_invoice_id=bills)
    (held,) = world.odoo.search("sale.order", [("partner_id", "=", lost)])
    world.odoo.write("sale.order", held, {"partner_invoice_id": later})
    world.sync()
    assert world.mailchimp.statuses("retail1") == {
        "bills@example.com": "transactional",
        "lost@example.com": "transactional",
    }
    assert sorted(world.mailchimp.tags("retail1", "bills@example.com")) == ["B2C", "VIP"]

    world.odoo.edit_partner(lost, email=False)
    world.mailchimp.journal.clear()
    world.sync()
    assert set(world.mailchimp.statuses("retail1")) == {"bills@example.com", "lost@example.com"}
    assert world.mailchimp.journal.writes == []
    assert excluded(world)[held][0] == "no_usable_address"


def test_explain_says_that_a_customer_belongs_to_another_company(world: World):
    lumen = world.odoo.add_company("Lumen")
    world.mailchimp.add_audience("lumen1", "Lumen")
    of_lumen = ONE_STORE.replace("retail1", "lumen1").replace("acme-retail", "lumen-retail")
    world.configure(company("acme", 1) + company("lumen", lumen, of_lumen))
    theirs = world.odoo.add_partner(name="Ada", email="ada@example.com", company_id=lumen)
    world.odoo.add_order(theirs, 50.0, date_order=ORDERED, company_id=1)
    for key in ("lumen", "acme"):
        world.sync(key)
    with world.systems() as systems:
        story = tell_story(systems.ledger, systems.settings.companies["acme"], "ada@example.com")
    assert story.verdict == "Belongs in no audience: the contact belongs to another company in Odoo."
    said = [step.sentence for step in story.chapters[0].steps if step.outcome == "other_company"]
    assert [sentence.partition(":")[0] for sentence in said] == [
        f"Partner {theirs} is the customer of an order here, and belongs to company Lumen"
    ]


def test_a_table_of_an_earlier_version_reports_no_customers_elsewhere(world: World):
    customer(world, "ada@example.com")
    world.run(push=False)
    table = world.table("odoo_partners")
    assert customers_elsewhere_in(table) == {}
    assert customers_elsewhere_in(replace(table, facts={})) == {}


def test_1_1_a_missing_right_reddens_the_run_and_names_the_right(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    customer(world, "ada@example.com")
    uid = world.odoo.add_user("limited", "limited", groups=("sales_all", "accounting", "email_marketing"))
    world.odoo.deny(uid, "mailing.subscription")
    world.config.write_text(world.config.read_text().replace("user: admin", "user: limited"))
    monkeypatch.setenv("ODOO_SECRET", "limited")
    result = world.run()
    assert world.went_through(result), world.failures(result)
    with world.systems() as systems:
        found = {each.trouble.place: each.trouble for each in systems.ledger.troubles.open("acme")}
    assert found["odoo_partners"].kind == TroubleKind.BROKEN
    assert "Email Marketing / User" in found["odoo_partners"].sentence


@pytest.mark.long
def test_6_3_a_merge_whose_note_could_not_be_read_once_is_followed_later(world: World):
    for name, kind in (("x_news", "boolean"), ("x_news_date", "date")):
        world.odoo.model("res.partner").add_field(Field(name, kind))
    consent = "list_id: retail1\n        consent: {boolean_field: x_news}\n"
    world.configure(company("acme", 1, ONE_STORE.replace("list_id: retail1\n", consent)))
    others(world)
    ticked = {"x_news": True, "x_news_date": "2026-05-05"}
    gone, survivor = (customer(world, f"{name}@example.com", **ticked) for name in "as")
    world.sync()
    assert world.mailchimp.status("retail1", "a@example.com") == "subscribed"

    world.odoo.merge_partners(survivor, gone)
    deny_once(world, "mail.message")
    assert listed(world)[gone][0] == "deleted_in_odoo"
    assert "or merged" in listed(world)[gone][1]
    (trouble,) = open_troubles(world, "contacts")
    assert (trouble.kind, trouble.code) == (TroubleKind.NOT_LOOKED_AT, "merges")
    with world.systems() as systems:
        assert gone not in systems.ledger.partner_addresses.successors()

    world.run()
    assert open_troubles(world, "contacts") == []
    with world.systems() as systems:
        assert systems.ledger.partner_addresses.successors()[gone] == survivor
    world.odoo.edit_partner(survivor, x_news=False)
    world.run()
    world.run()
    for name in "as":
        assert world.mailchimp.status("retail1", f"{name}@example.com") == "unsubscribed", name


@pytest.mark.long
def test_1_2_an_error_of_odoo_about_contacts_that_are_gone_stops_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    world.configure(company("acme", 1))
    others(world)
    gone = customer(world, "gone@example.com")
    world.sync()
    forget_orders(world, gone)
    world.odoo.unlink("res.partner", gone)
    late = customer(world, "late@example.com")

    def broken(*_: Any, **__: Any) -> Any:
        raise OdooServerError("Odoo broke")

    with monkeypatch.context() as patched:
        patched.setattr("mc_pipeline.odoo.partners_elsewhere.merged_into", broken)
        result = world.run()
    assert not [event.step_key for event in result.all_events if event.is_step_failure]
    assert world.mailchimp.status("retail1", "late@example.com") == "transactional"
    (order,) = world.odoo.search("sale.order", [("partner_id", "=", late)])
    assert excluded(world)[order][0] == ""
    (trouble,) = open_troubles(world, "contacts")
    assert (trouble.kind, trouble.code) == (TroubleKind.NOT_LOOKED_AT, "fates")
    assert "1 contact" in trouble.sentence
    assert "Odoo broke" in trouble.sentence
    # nothing is done, and the list says that nothing is known
    assert world.mailchimp.status("retail1", "gone@example.com") == "transactional"
    assert listed(world)[gone][0] == "hidden_in_odoo"

    world.sync()
    assert open_troubles(world, "contacts") == []
    assert listed(world)[gone][0] == "deleted_in_odoo"
    assert world.mailchimp.status("retail1", "gone@example.com") == "archived"


@pytest.mark.parametrize("kind", ["invoice", "contact"])
def test_2_3_an_address_that_moves_from_a_company_to_its_invoice_contact_keeps_the_member(
    world: World, kind: str
):
    world.configure(company("acme", 1))
    others(world)
    firm = world.odoo.add_partner(name="Globex", is_company=True, email="bills@example.com")
    bills = world.odoo.add_partner(name="Globex, Bills", type=kind, parent_id=firm)
    order = world.odoo.add_order(firm, 1500.0, date_order=ORDERED, partner_invoice_id=bills)
    world.sync()
    world.odoo.edit_partner(bills, email="bills@example.com")
    world.odoo.edit_partner(firm, email=False)
    world.sync()
    assert world.mailchimp.status("retail1", "bills@example.com") == "transactional"
    assert sorted(world.mailchimp.tags("retail1", "bills@example.com")) == ["B2C", "VIP"]
    assert excluded(world)[order][0] == ""


def test_2_3_an_order_of_a_hidden_customer_makes_nobody_else_a_member(world: World):
    world.configure(company("acme", 1))
    others(world)
    firm = world.odoo.add_partner(name="Globex", is_company=True, email="globex@example.com", company_id=1)
    bills = world.odoo.add_partner(name="Globex, Bills", email="bills@example.com", type="invoice")
    order = world.odoo.add_order(firm, 1500.0, date_order=ORDERED, partner_invoice_id=bills)
    world.odoo.hide("res.partner", [firm])
    world.sync()
    assert "bills@example.com" not in world.mailchimp.statuses("retail1")
    because, detail = excluded(world)[order]
    assert because == "no_usable_address"
    assert detail.startswith("the Odoo user does not see the customer")


@pytest.mark.long
def test_2_2_customers_of_other_companies_stay_known_where_odoo_cannot_be_asked_for_them(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    lumen = world.odoo.add_company("Lumen")
    world.configure(company("acme", 1))
    others(world, 5)
    theirs = world.odoo.add_partner(name="Globex", email="globex@example.com", company_id=lumen)
    order = world.odoo.add_order(theirs, 1.0, date_order=ORDERED)
    world.sync()
    assert excluded(world)[order] == ("other_company", "customer belongs to company Lumen")

    def broken(*_: Any, **__: Any) -> Any:
        raise OdooServerError("Odoo broke")

    monkeypatch.setattr("mc_pipeline.odoo.partners_elsewhere.customers_elsewhere", broken)
    for _ in range(2):
        result = world.run()
        assert not [event.step_key for event in result.all_events if event.is_step_failure]
        assert customers_elsewhere_in(world.table("odoo_partners")) == {theirs: "Lumen"}
        assert excluded(world)[order] == ("other_company", "customer belongs to company Lumen")
    (read,) = (
        event.materialization.metadata["read"].value
        for event in result.all_events
        if event.is_step_materialization and event.materialization.asset_key.path == ["odoo_partners"]
    )
    assert "customers who belong to other companies could not be asked for: Odoo broke" in str(read)


@pytest.mark.parametrize(
    ("company_if", "sentence"),
    [
        ("{any_tag: Firm}", "company_if.any_tag: "),
        ("{field: x_is_firm}", "company_if.field x_is_firm: res.partner has no such field"),
    ],
)
def test_what_company_if_names_and_odoo_has_no_more_stops_contacts_and_no_opt_outs(
    world: World, company_if: str, sentence: str
) -> None:
    world.odoo.upgrade((20, 0))
    tag = world.odoo.add_tag("Firm")
    partners = world.odoo.model("res.partner")
    partners.add_field(Field("x_is_firm", "boolean"))
    world.configure(company("acme", 1).replace("    guards:", f"    company_if: {company_if}\n    guards:"))
    customer(world, "ada@example.com")
    world.sync()
    world.odoo.unlink("res.partner.category", tag)
    del partners.fields["x_is_firm"]

    result = world.run()
    failed = {event.step_key for event in result.all_events if event.is_step_failure}
    assert failed == {"contacts", "company_status"}
    made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
    assert {"odoo_partners", "missed_opt_outs"} <= made
    assert any(sentence in each.sentence for each in open_troubles(world, "company_status/contacts"))
