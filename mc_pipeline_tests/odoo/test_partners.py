"""Partners as a company's table: who is in it, what marks them, and what makes it incomplete."""

import json
from datetime import UTC, datetime

import pandas as pd
import pytest

from mc_pipeline.odoo.errors import OdooAccessError, OdooFieldMissingError
from mc_pipeline.odoo.partners import read_partners
from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.odoo.fields import Field
from mc_pipeline_tests.odoo.conftest import logged_in

MODULES = frozenset({"sale", "account", "mass_mailing", "delivery"})


def row_of(table, partner: int) -> dict:
    found = table.rows[table.rows["partner_id"] == partner].to_dict("records")
    assert len(found) == 1
    return found[0]


def evidence_of(table, partner: int) -> list[dict]:
    return json.loads(row_of(table, partner)["evidence_json"])


def test_partners_of_other_companies_are_left_out_and_shared_ones_are_in(sandbox):
    other = sandbox.add_company("Other")
    shared, own, theirs = (
        sandbox.add_partner(name="shared"),
        sandbox.add_partner(name="own", company_id=1),
        sandbox.add_partner(name="theirs", company_id=other),
    )
    with logged_in(sandbox, companies=(1, other)) as client:
        first = set(read_partners(client, 1).rows["partner_id"])
        second = set(read_partners(client, other).rows["partner_id"])
    assert {shared, own} <= first
    assert theirs not in first
    assert {shared, theirs} <= second
    assert own not in second


def test_colleagues_of_every_company_are_marked_also_those_who_left(sandbox, client):
    other = sandbox.add_company("Other")
    former = sandbox.add_user("former@example.com", active=False, company_ids=(other,))
    customer = sandbox.add_user("customer@example.com", share=True)
    left_customer = sandbox.add_user("left@example.com", share=True, active=False)
    partners = {
        user: sandbox.read("res.users", user, "partner_id")["partner_id"]
        for user in (former, customer, left_customer)
    }
    table = read_partners(client, 1)
    assert row_of(table, partners[former])["is_internal_user"]
    for user in (customer, left_customer):
        row = row_of(table, partners[user])
        assert not row["is_internal_user"]
        assert not row["is_public_or_template_user"]


def test_partners_of_all_companies_of_the_user_are_the_companies_own(sandbox):
    other = sandbox.add_company("Other")
    partner = sandbox.read("res.company", other, "partner_id")["partner_id"]
    with logged_in(sandbox) as client:
        assert row_of(read_partners(client, 1), partner)["is_own_company"]


@pytest.mark.parametrize("login", ["public", "portaltemplate", "public-user@company-7.com"])
def test_users_that_odoo_made_for_visitors_and_copies_are_marked(sandbox, client, login):
    found = sandbox.search("res.users", [("login", "=", login)])
    user = found[0] if found else sandbox.add_user(login, share=True, active=False)
    partner = sandbox.read("res.users", user, "partner_id")["partner_id"]
    assert row_of(read_partners(client, 1), partner)["is_public_or_template_user"]


def test_employees_are_marked_by_work_contact_and_without_hr_nobody_is(sandbox, client):
    with SandboxOdoo((18, 0), modules=MODULES | {"hr"}).serve() as with_hr, logged_in(with_hr) as hr_client:
        worker = with_hr.add_partner(name="worker")
        with_hr.create(
            "hr.employee", {"name": "worker", "work_contact_id": worker, "active": False, "company_id": 1}
        )
        table = read_partners(hr_client, 1)
        assert row_of(table, worker)["is_employee"]
        assert table.notes == ()
    table = read_partners(client, 1)
    assert table.complete
    assert not table.rows["is_employee"].any()
    assert any("hr is not installed" in note for note in table.notes)


def test_employees_that_may_not_be_read_make_the_table_incomplete():
    with SandboxOdoo((18, 0), modules=MODULES | {"hr"}).serve() as sandbox:
        user = sandbox.add_user("bot", "secret", groups=("sales_all", "email_marketing"))
        sandbox.deny(user, "hr.employee")
        with logged_in(sandbox, "bot", "secret") as client:
            table = read_partners(client, 1)
    assert not table.complete
    assert "employees cannot be told from customers" in table.incomplete_because


def test_consent_that_may_not_be_read_makes_the_table_incomplete_and_names_the_right(sandbox):
    sandbox.add_user("bot", "secret", groups=("sales_all",))
    with logged_in(sandbox, "bot", "secret") as client:
        table = read_partners(client, 1)
    assert not table.complete
    assert "Email Marketing / User" in table.incomplete_because
    assert len(table.rows) > 0


def test_partners_that_may_not_be_read_are_an_error(sandbox):
    user = sandbox.add_user("bot", "secret")
    sandbox.deny(user, "res.partner")
    with logged_in(sandbox, "bot", "secret") as client, pytest.raises(OdooAccessError, match=r"res\.partner"):
        read_partners(client, 1)


def test_without_mass_mailing_there_is_no_evidence_and_the_table_is_complete():
    with SandboxOdoo((19, 0), modules={"sale", "account"}).serve() as sandbox, logged_in(sandbox) as client:
        partner = sandbox.add_partner(name="x", email="x@example.com")
        table = read_partners(client, 1)
    assert table.complete
    assert evidence_of(table, partner) == []
    assert any("mass_mailing is not installed" in note for note in table.notes)


def test_every_subscription_of_every_contact_with_the_address_is_evidence(sandbox, client):
    partner = sandbox.add_partner(name="Jane", email="Jane@Example.com")
    stranger = sandbox.add_partner(name="Joe", email="joe@example.com")
    news = sandbox.add_mailing_list("News")
    with sandbox.at(datetime(2024, 5, 1, 12, 0, tzinfo=UTC)):
        sandbox.subscribe(news, "jane@example.com")
    with sandbox.at(datetime(2025, 6, 1, 12, 0, tzinfo=UTC)):
        sandbox.create("mailing.contact", {"name": "again", "email": "JANE@example.com"})
        contact = sandbox.search("mailing.contact", [("name", "=", "again")])[0]
        sandbox.create("mailing.subscription", {"contact_id": contact, "list_id": news, "opt_out": True})
    first, second = sandbox.search("mailing.subscription")
    table = read_partners(client, 1)
    assert evidence_of(table, stranger) == []
    assert evidence_of(table, partner) == [
        {
            "source": "News",
            "kind": "mailing_list",
            "record_id": news,
            "subscription_id": first,
            "address": "jane@example.com",
            "consented_at": "2024-05-01T12:00:00+00:00",
            "opted_out": False,
            "opted_out_at": None,
        },
        {
            "source": "News",
            "kind": "mailing_list",
            "record_id": news,
            "subscription_id": second,
            "address": "jane@example.com",
            "consented_at": "2025-06-01T12:00:00+00:00",
            "opted_out": True,
            "opted_out_at": "2025-06-01T12:00:00+00:00",
        },
    ]


def test_an_undated_subscription_stays_undated_when_it_is_edited_later(sandbox, client):
    partner = sandbox.add_partner(name="Jane", email="jane@example.com")
    subscription = sandbox.subscribe(sandbox.add_mailing_list("News"), "jane@example.com", dated=False)
    sandbox.write("mailing.subscription", subscription, {"opt_out": True})
    sandbox.write("mailing.subscription", subscription, {"opt_out": False})
    assert sandbox.read("mailing.subscription", subscription, "write_date")["write_date"]
    (item,) = evidence_of(read_partners(client, 1), partner)
    assert (item["consented_at"], item["opted_out"], item["opted_out_at"]) == (None, False, None)


@pytest.fixture
def custom(sandbox):
    """The stand-in with boolean fields of a company: one with a date beside it, one without."""
    for name, kind in (("x_newsletter", "boolean"), ("x_newsletter_date", "date"), ("x_offers", "boolean")):
        sandbox.model("res.partner").add_field(Field(name, kind))
    return sandbox


def test_a_ticked_field_is_evidence_dated_by_the_date_beside_it(custom, client):
    dated = custom.add_partner(
        name="a", email="a@example.com", x_newsletter=True, x_newsletter_date="2024-02-29"
    )
    undated = custom.add_partner(name="b", email="b@example.com", x_newsletter=True, x_offers=True)
    cleared = custom.add_partner(name="c", email="c@example.com", x_newsletter_date="2024-02-29")
    nowhere = custom.add_partner(name="d", x_newsletter=True)
    table = read_partners(client, 1, boolean_fields=["x_newsletter", "x_offers"])
    item = {
        "source": "x_newsletter",
        "kind": "boolean_field",
        "record_id": dated,
        "address": "a@example.com",
        "consented_at": "2024-02-29T00:00:00+00:00",
        "opted_out": False,
        "opted_out_at": None,
    }
    assert evidence_of(table, dated) == [item]
    assert [(each["source"], each["consented_at"]) for each in evidence_of(table, undated)] == [
        ("x_newsletter", None),
        ("x_offers", None),
    ]
    assert evidence_of(table, cleared) == []
    assert evidence_of(table, nowhere) == []


def test_a_ticked_field_counts_for_every_partner_with_the_address(custom, client):
    ticked = custom.add_partner(name="a", email="a@example.com", x_offers=True)
    twin = custom.add_partner(name="a2", email="A@example.com")
    table = read_partners(client, 1, boolean_fields=["x_offers"])
    assert [item["record_id"] for item in evidence_of(table, twin)] == [ticked]


@pytest.mark.parametrize(("name", "words"), [("x_gone", "no such field"), ("name", "char field")])
def test_a_consent_field_that_is_missing_or_no_boolean_is_named(client, name, words):
    with pytest.raises(OdooFieldMissingError, match=rf"boolean_field {name}.*{words}"):
        read_partners(client, 1, boolean_fields=[name])


def test_first_and_last_names_come_where_a_module_has_them(sandbox, client):
    for name in ("firstname", "lastname"):
        sandbox.model("res.partner").add_field(Field(name, "char"))
    partner = sandbox.add_partner(name="Jane Doe", firstname="Jane", lastname="Doe")
    row = row_of(read_partners(client, 1), partner)
    assert (row["first_name"], row["last_name"]) == ("Jane", "Doe")


@pytest.mark.parametrize(
    "missing", ["industry_id", "supplier_rank", "message_bounce", "commercial_company_name"]
)
def test_a_field_that_this_odoo_lacks_is_left_empty(missing):
    with SandboxOdoo((18, 0)).serve() as sandbox, logged_in(sandbox) as client:
        shop = sandbox.add_partner(name="Shop", is_company=True)
        buyer = sandbox.add_partner(name="Buyer", parent_id=shop)
        sandbox.model("res.partner").fields.pop(missing, None)
        table = read_partners(client, 1)
    assert table.complete
    row = row_of(table, buyer)
    assert row["company_name"] == "Shop"
    assert (row["supplier_rank"], row["message_bounce"]) == (0, 0)
    assert pd.isna(row["industry"])


def test_a_needed_field_that_is_missing_is_named_with_its_module():
    with SandboxOdoo((18, 0)).serve() as sandbox, logged_in(sandbox) as client:
        sandbox.model("res.partner").fields.pop("email_normalized")
        with pytest.raises(
            OdooFieldMissingError, match=r"no field email_normalized on res\.partner.*module mail"
        ):
            read_partners(client, 1)


@pytest.mark.parametrize("version", [(17, 0), (18, 0), (19, 0)])
def test_the_mobile_number_stands_in_where_there_is_no_phone(version):
    with SandboxOdoo(version).serve() as sandbox, logged_in(sandbox) as client:
        numbers = {"mobile": "+44 7700 900000"} if version < (19, 0) else {"phone": "+44 7700 900000"}
        partner = sandbox.add_partner(name="x", **numbers)
        assert row_of(read_partners(client, 1), partner)["phone"] == "+44 7700 900000"


def test_an_address_without_a_name_has_an_empty_one(sandbox, client):
    shop = sandbox.add_partner(name="Shop", is_company=True)
    address = sandbox.add_partner(parent_id=shop, type="delivery", street="Somewhere 1")
    assert row_of(read_partners(client, 1), address)["name"] == ""


def test_rows_that_record_rules_hide_from_every_search_are_not_in_the_table(sandbox, client):
    partner = sandbox.add_partner(name="x")
    sandbox.hide("res.partner", [partner])
    assert partner not in set(read_partners(client, 1).rows["partner_id"])


def test_passing_faults_do_not_change_the_table(sandbox, client):
    for number in range(30):
        sandbox.add_partner(name=f"p{number}", email=f"p{number}@example.com")
    undisturbed = read_partners(client, 1)
    kinds = ("reset_before", "empty_429", "json_500", "html_502", "truncated", "cut_off", "empty_200")
    for skip, kind in enumerate(kinds):
        sandbox.faults.add(Fault(kind, match_path_regex="/jsonrpc", skip=2 * skip))
    disturbed = read_partners(client, 1)
    pd.testing.assert_frame_equal(disturbed.rows, undisturbed.rows)
    assert disturbed.complete
    assert sandbox.faults.waiting == []


def test_reading_again_asks_each_models_fields_once_per_connection(sandbox, client):
    read_partners(client, 1)
    read_partners(client, 1)
    asked = [
        entry.body["params"]["args"][3]
        for entry in sandbox.journal.requests
        if entry.body and (entry.body.get("params") or {}).get("args", [None] * 5)[4:5] == ["fields_get"]
    ]
    assert asked
    assert len(asked) == len(set(asked))
