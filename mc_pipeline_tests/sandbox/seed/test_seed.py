"""The demo's world has everybody in it whom a story or a check needs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.odoo.catalogue import OPTIONAL_MODULES
from mc_pipeline.sandbox.seed import DemoWorld, demo_companies_yaml, seed_demo, seed_many
from mc_pipeline.settings import load_settings

World = tuple[SandboxOdoo, SandboxMailchimp, DemoWorld]
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def _seeded(major: int = 19, partners: int = 400, seed: int = 7) -> World:
    odoo = SandboxOdoo((major, 0), modules=set(OPTIONAL_MODULES), clock=lambda: NOON)
    mailchimp = SandboxMailchimp()
    return odoo, mailchimp, seed_demo(odoo, mailchimp, partners=partners, seed=seed)


@pytest.fixture(scope="module")
def seeded() -> World:
    return _seeded()


def test_the_same_seed_makes_the_same_world(seeded: World) -> None:
    odoo, mailchimp, world = seeded
    other_odoo, other_mailchimp, other_world = _seeded()
    assert other_world == world
    for model in ("res.partner", "sale.order", "sale.order.line", "account.move", "mail.blacklist"):
        assert other_odoo.model(model).table.rows == odoo.model(model).table.rows
    for company in world.companies.values():
        for list_id in company.audiences.values():
            assert other_mailchimp.statuses(list_id) == mailchimp.statuses(list_id)


@pytest.mark.parametrize("major", [17, 18])
def test_every_version_can_be_seeded(major: int) -> None:
    odoo, _, world = _seeded(major, partners=300)
    assert world.partners >= 300
    assert odoo.read("sale.order", odoo.search("sale.order")[0], "amount_tax")["amount_tax"] > 0


def test_a_world_too_small_for_its_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 300"):
        seed_demo(SandboxOdoo(), SandboxMailchimp(), partners=299)


def test_everybody_with_a_part_is_where_the_part_says(seeded: World) -> None:
    odoo, mailchimp, world = seeded
    statuses = {part: mailchimp.status(person.list_id, person.email) for part, person in world.people.items()}
    in_mailchimp = {part: status for part, status in statuses.items() if status is not None}
    assert in_mailchimp == {
        "subscribed": "subscribed",
        "unsubscribed_by_person": "unsubscribed",
        "unsubscribed_by_api": "unsubscribed",
        "cleaned": "cleaned",
        "archived": "archived",
        "transactional": "transactional",
        "pending": "pending",
        "blacklisted": "subscribed",
        "blacklisted_fr": "subscribed",
        "unknown_to_odoo": "subscribed",
    }
    story = world.someone_subscribed_with_partner
    assert odoo.search("res.partner", [("email_normalized", "=", story.email)]) == [story.partner_id]
    assert len(odoo.search("sale.order", [("partner_id", "=", story.partner_id)])) == 2
    stranger = world.people["unknown_to_odoo"]
    assert odoo.search("res.partner", [("email_normalized", "=", stranger.email)]) == []
    assert len(odoo.search("res.partner", [("email_normalized", "=", world.people["duplicate"].email)])) == 2
    assert (
        odoo.read("res.partner", world.people["shared"].partner_id or 0, "company_id")["company_id"] is False
    )


@pytest.mark.parametrize(
    ("model", "domain"),
    [
        ("res.partner", [("is_blacklisted", "=", True)]),
        ("res.partner", [("active", "=", False), ("sale_order_ids", "!=", False)]),
        ("res.partner", [("parent_id.category_id", "!=", False)]),
        ("res.partner", [("parent_id", "!=", False), ("category_id", "!=", False)]),
        ("res.partner", [("type", "=", "delivery")]),
        ("res.partner", [("type", "=", "invoice")]),
        ("res.partner", [("supplier_rank", ">", 0), ("sale_order_ids", "=", False)]),
        ("res.partner", [("supplier_rank", ">", 0), ("sale_order_ids", "!=", False)]),
        ("res.partner", [("email", "=", False), ("sale_order_ids", "!=", False)]),
        ("res.partner", [("email", "!=", False), ("email_normalized", "=", False)]),
        ("res.partner", [("email", "ilike", ", ")]),
        ("res.partner", [("company_id", "=", False), ("sale_order_ids", "!=", False)]),
        ("res.partner", [("message_bounce", ">", 5)]),
        ("res.users", [("active", "=", False), ("share", "=", False), ("login", "=", "former.clerk")]),
        ("res.users", [("share", "=", True), ("login", "=", "portal.customer")]),
        ("hr.employee", []),
        ("sale.order", [("state", "=", "cancel")]),
        ("sale.order", [("state", "=", "draft")]),
        ("sale.order", [("company_id", "=", 2), ("currency_id.name", "=", "EUR")]),
        ("account.move", [("move_type", "=", "out_refund"), ("state", "=", "posted")]),
        ("account.move.line", [("move_id.move_type", "=", "out_refund"), ("sale_line_ids", "!=", False)]),
        ("mail.blacklist", [("active", "=", True)]),
        ("mail.blacklist", [("active", "=", False)]),
        ("mailing.subscription", [("opt_out", "=", True)]),
        ("mailing.subscription", [("write_date", "=", False)]),
    ],
    ids=str,
)
def test_odoo_has_somebody_of_every_kind(
    seeded: World, model: str, domain: list[tuple[str, str, object]]
) -> None:
    assert seeded[0].search(model, domain)


def test_mailchimp_has_its_difficulties(seeded: World) -> None:
    _, mailchimp, world = seeded
    retail = world.companies["acme_uk"].audiences["retail"]
    assert mailchimp.audience(retail).welcome_automation
    assert {"ORDERS", "LOYALTY"} <= set(mailchimp.audience(retail).merge_fields)
    assert mailchimp.state.fake_addresses == {world.people["fake"].email}
    assert mailchimp.state.refused_signups == {world.people["too_many_signups"].email}
    assert any(len(name.encode()) > 255 for name in _names(seeded[0]))


def _names(odoo: SandboxOdoo) -> list[str]:
    return [str(row.get("name", "")) for row in odoo.model("res.partner").table.rows.values()]


def test_seeding_leaves_empty_journals_and_no_secret_in_the_worlds_text(seeded: World) -> None:
    odoo, mailchimp, world = seeded
    assert (odoo.journal.entries, mailchimp.journal.entries) == ([], [])
    assert world.odoo_secret not in repr(world)
    assert world.mailchimp_api_key not in repr(world)


def test_the_settings_of_the_world_are_valid_and_name_its_audiences(seeded: World, tmp_path: Path) -> None:
    odoo, _, world = seeded
    file = tmp_path / "companies.yaml"
    file.write_text(demo_companies_yaml("http://127.0.0.1:8069", "http://127.0.0.1:8070"), encoding="utf-8")
    settings = load_settings(file, world.environment())
    for key, company in settings.companies.items():
        seeded_company = world.companies[key]
        assert company.odoo_company_id == seeded_company.odoo_company_id
        assert company.timezone == seeded_company.timezone
        assert {
            name: audience.list_id for name, audience in company.audiences.items()
        } == seeded_company.audiences
        for audience in company.audiences.values():
            assert audience.store is None or audience.store.currency == seeded_company.currency
            if audience.consent is not None:
                assert odoo.search("mailing.list", [("name", "=", audience.consent.mailing_list)])
    assert settings.odoo.secret.get_secret_value() == world.odoo_secret
    assert odoo.database.login(settings.odoo.user, world.odoo_secret)


def test_a_crowd_has_its_addresses_and_orders() -> None:
    odoo = SandboxOdoo()
    ids = seed_many(odoo, 1000, orders_each=2, prefix="crowd")
    assert len(ids) == 1000
    assert (
        odoo.read("res.partner", ids[-1], "email_normalized")["email_normalized"] == "crowd1000@example.com"
    )
    assert len(odoo.search("sale.order", [("state", "=", "sale"), ("partner_id", "=", ids[0])])) == 2
    more = seed_many(odoo, 10, prefix="more")
    assert more[0] == ids[-1] + 1
