"""Searching and reading, with what differs between Odoo 17, 18 and 19."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import odoorpc
import pytest

from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.seed import seed_many
from mc_pipeline_tests.sandbox.odoo.conftest import error_of, log_in

MOMENT = datetime(2026, 3, 1, 8, 39, 5, 460_000, tzinfo=UTC)


def _names(client: odoorpc.ODOO, domain: list[Any], **options: Any) -> list[str]:
    records = client.execute_kw(
        "res.partner",
        "search_read",
        [["&", ["ref", "=", "t"], *_prefixed(domain)], ["name"]],
        {"order": "id", **options},
    )
    return [record["name"] for record in records]


def _prefixed(domain: list[Any]) -> list[Any]:
    return domain or [["id", ">", 0]]


@pytest.fixture
def people(odoo: SandboxOdoo) -> dict[str, int]:
    parent = odoo.add_tag("Trade")
    tag = odoo.add_tag("Wholesale", parent=parent)
    firm = odoo.add_partner(
        name="Firm", is_company=True, vat="FR40303265045", country="FR", tags=[tag], ref="t"
    )
    return {
        "Firm": firm,
        "Ann": odoo.add_partner(
            name="Ann", email="Ann@Example.com", parent_id=firm, ref="t", supplier_rank=2
        ),
        "Bob": odoo.add_partner(name="Bob", email=False, country="GB", ref="t"),
        "Cid": odoo.add_partner(name="Cid%", email="cid@example.org", ref="t", active=False),
    }


@pytest.mark.parametrize(
    ("domain", "names"),
    [
        ([["name", "=", "Ann"]], ["Ann"]),
        ([["name", "!=", "Ann"]], ["Firm", "Bob"]),
        ([["email", "=", False]], ["Firm", "Bob"]),
        ([["email", "!=", False]], ["Ann"]),
        ([["email", "!=", "Ann@Example.com"]], ["Firm", "Bob"]),
        ([["name", "in", ["Ann", "Bob"]]], ["Ann", "Bob"]),
        ([["email", "in", [False, "x"]]], ["Firm", "Bob"]),
        ([["name", "not in", ["Ann"]]], ["Firm", "Bob"]),
        ([["email", "not in", ["x"]]], ["Firm", "Ann", "Bob"]),
        ([["email", "like", "ann"]], []),
        ([["email", "ilike", "ann"]], ["Ann"]),
        ([["email", "not ilike", "ann"]], ["Firm", "Bob"]),
        ([["name", "=like", "B%"]], ["Bob"]),
        ([["name", "=ilike", "b_B"]], ["Bob"]),
        ([["supplier_rank", ">", 0]], ["Ann"]),
        ([["supplier_rank", "=", 0]], ["Firm", "Bob"]),
        ([["is_company", "=", True]], ["Firm"]),
        ([["is_company", "!=", True]], ["Ann", "Bob"]),
        (["|", ["name", "=", "Ann"], ["name", "=", "Bob"]], ["Ann", "Bob"]),
        (["!", ["name", "=", "Ann"]], ["Firm", "Bob"]),
        (["&", "!", ["is_company", "=", True], ["email", "=", False]], ["Bob"]),
        ([["country_id.code", "=", "GB"]], ["Bob"]),
        ([["country_id", "=", "France"]], ["Firm", "Ann"]),
        ([["country_id", "ilike", "king"]], ["Bob"]),
        ([["parent_id", "=", False]], ["Firm", "Bob"]),
        ([["parent_id.category_id.name", "=", "Wholesale"]], ["Ann"]),
        ([["category_id", "!=", False]], ["Firm"]),
        ([["category_id", "=", False]], ["Ann", "Bob"]),
        ([["category_id", "ilike", "trade"]], ["Firm"]),
        ([["category_id", "child_of", "Trade"]], ["Firm"]),
        ([["child_ids", "any", [["name", "=", "Ann"]]]], ["Firm"]),
        ([["commercial_partner_id.name", "=", "Firm"]], ["Firm", "Ann"]),
        ([["active", "=", False]], ["Cid%"]),
        ([["active", "in", [True, False]]], ["Firm", "Ann", "Bob", "Cid%"]),
        ([["is_blacklisted", "=", False]], ["Firm", "Ann", "Bob"]),
        ([["user_ids", "=", False]], ["Firm", "Ann", "Bob"]),
    ],
    ids=str,
)
def test_domains_find_what_odoo_finds(
    admin: odoorpc.ODOO, people: dict[str, int], domain: list[Any], names: list[str]
) -> None:
    assert people
    assert _names(admin, domain) == names


def test_child_of_finds_a_company_with_its_contacts(admin: odoorpc.ODOO, people: dict[str, int]) -> None:
    assert _names(admin, [["id", "child_of", people["Firm"]]]) == ["Firm", "Ann"]
    assert _names(admin, [["id", "parent_of", people["Ann"]]]) == ["Firm", "Ann"]


def test_archived_records_show_on_request_only(admin: odoorpc.ODOO, people: dict[str, int]) -> None:
    assert "Cid%" not in _names(admin, [])
    assert "Cid%" in _names(admin, [], context={"active_test": False})
    assert admin.execute_kw("res.partner", "read", [[people["Cid"]], ["name"]])[0]["name"] == "Cid%"


def test_a_page_after_an_id_is_the_same_with_and_without_other_terms(
    admin: odoorpc.ODOO, people: dict[str, int]
) -> None:
    after = ["id", ">", people["Firm"]]
    assert _names(admin, ["&", after, ["name", "!=", "x"]], limit=1) == ["Ann"]
    assert _names(admin, ["&", after, ["id", "<=", people["Bob"]]]) == ["Ann", "Bob"]
    assert _names(admin, ["&", after, ["id", "in", list(people.values())]], offset=1) == ["Bob"]


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("name desc", ["Firm", "Bob", "Ann"]),
        ("email, id", ["Ann", "Firm", "Bob"]),
        ("email desc, id desc", ["Bob", "Firm", "Ann"]),
        ("country_id, name", ["Ann", "Firm", "Bob"]),
        (None, ["Bob", "Firm", "Ann"]),
    ],
)
def test_records_come_in_the_order_asked_for(
    admin: odoorpc.ODOO, people: dict[str, int], order: str | None, names: list[str]
) -> None:
    assert people
    options = {"order": order} if order else {}
    records = admin.execute_kw("res.partner", "search_read", [[["ref", "=", "t"]], ["name"]], options)
    assert [record["name"] for record in records] == names


def test_related_records_come_with_their_name_or_bare(admin: odoorpc.ODOO, people: dict[str, int]) -> None:
    ann, firm = people["Ann"], people["Firm"]
    (named,) = admin.execute_kw("res.partner", "read", [[ann], ["parent_id", "company_id"]])
    assert named == {"id": ann, "parent_id": [firm, "Firm"], "company_id": False}
    (bare,) = admin.execute_kw("res.partner", "read", [[ann], ["parent_id", "complete_name"]], {"load": ""})
    assert bare == {"id": ann, "parent_id": firm, "complete_name": "Firm, Ann"}
    (found,) = admin.execute_kw("res.partner", "name_search", ["Ann"])
    assert found == [ann, "Firm, Ann"]


def test_reading_leaves_out_what_does_not_exist_and_keeps_the_order(
    admin: odoorpc.ODOO, people: dict[str, int]
) -> None:
    ids = [people["Bob"], 99999, people["Ann"]]
    assert [each["name"] for each in admin.execute_kw("res.partner", "read", [ids, ["name"]])] == [
        "Bob",
        "Ann",
    ]


def test_a_child_hides_from_child_ids_once_archived(
    odoo: SandboxOdoo, admin: odoorpc.ODOO, people: dict[str, int]
) -> None:
    odoo.archive_partner(people["Ann"])
    read = admin.execute_kw(
        "res.partner", "read", [[people["Firm"]], ["child_ids"]], {"context": {"active_test": False}}
    )
    assert read[0]["child_ids"] == []


def test_seconds_are_shown_and_microseconds_are_kept(odoo: SandboxOdoo, admin: odoorpc.ODOO) -> None:
    with odoo.at(MOMENT):
        partner = odoo.add_partner(name="A", ref="t")
    assert odoo.read("res.partner", partner, "write_date")["write_date"] == "2026-03-01 08:39:05"
    assert odoo.model("res.partner").table.rows[partner]["write_date"].microsecond == 460_000


@pytest.mark.parametrize(
    ("operator", "value", "found_17_18", "found_19"),
    [
        (">", "2026-03-01 08:39:05", True, False),
        (">=", "2026-03-01 08:39:05", True, True),
        ("=", "2026-03-01 08:39:05", False, True),
        ("<=", "2026-03-01 08:39:05", False, True),
        ("<", "2026-03-01 08:39:05", False, False),
        ("<", "2026-03-01 08:39:06", True, True),
        (">=", "2026-03-01", True, True),
        (">", "2026-03-01", False, False),
        ("<=", "2026-03-01", True, True),
        ("=", "2026-03-01 08:39:05.460000", True, True),
        ("!=", False, True, True),
    ],
)
def test_a_filter_on_write_date_counts_seconds_on_19_and_microseconds_before(
    odoo: SandboxOdoo, admin: odoorpc.ODOO, operator: str, value: str, found_17_18: bool, found_19: bool
) -> None:
    with odoo.at(MOMENT):
        odoo.add_partner(name="A", ref="t")
    found = bool(_names(admin, [["write_date", operator, value]]))
    assert found is (found_19 if odoo.version[0] >= 19 else found_17_18)


def test_a_transaction_that_began_long_ago_commits_old_dates_and_lower_ids(odoo19: SandboxOdoo) -> None:
    ids = odoo19.model("res.partner").table.reserve(2)
    quick = odoo19.add_partner(name="Quick")
    with odoo19.at(datetime.now(UTC) - timedelta(seconds=5)):
        slow = odoo19.create("res.partner", {"id": ids[0], "name": "Slow"})
    table = odoo19.model("res.partner").table
    assert slow < quick
    assert table.rows[slow]["write_date"] < table.rows[quick]["write_date"]
    assert table.ids == sorted(table.ids)


@pytest.mark.parametrize("major", [17, 18, 19])
def test_groups_are_counted_and_summed(odoo: SandboxOdoo, admin: odoorpc.ODOO) -> None:
    ann, bob = odoo.add_partner(name="Ann"), odoo.add_partner(name="Bob")
    for partner, month, amount in ((ann, 1, 10.0), (ann, 2, 20.5), (bob, 2, 5.0)):
        odoo.add_order(partner, amount, date_order=datetime(2026, month, 28, 23, 30, tzinfo=UTC))
    groups = admin.execute_kw(
        "sale.order",
        "read_group",
        [[["state", "=", "sale"]], ["amount_untaxed:sum", "date_order:max"], ["partner_id"]],
    )
    assert [
        (g["partner_id"], g["partner_id_count"], g["amount_untaxed"], g["date_order"]) for g in groups
    ] == [
        ([ann, "Ann"], 2, 30.5, "2026-02-28 23:30:00"),
        ([bob, "Bob"], 1, 5.0, "2026-02-28 23:30:00"),
    ]
    months = admin.execute_kw(
        "sale.order",
        "read_group",
        [[], ["amount_untaxed"], ["date_order:month"]],
        {"lazy": False, "context": {"tz": "Europe/Paris"}},
    )
    assert [(g["date_order:month"], g["__count"], g["amount_untaxed"]) for g in months] == [
        ("January 2026", 1, 10.0),
        ("March 2026", 2, 25.5),
    ]
    assert months[1]["__range"]["date_order:month"] == {
        "from": "2026-02-28 23:00:00",
        "to": "2026-03-31 22:00:00",
    }


def test_odoo_19_groups_with_aggregates_by_name(odoo19: SandboxOdoo) -> None:
    ann = odoo19.add_partner(name="Ann")
    odoo19.add_order(ann, 10.0)
    odoo19.add_order(ann, 15.0)
    groups = log_in(odoo19).execute_kw(
        "sale.order", "formatted_read_group", [[], ["partner_id"], ["__count", "amount_untaxed:sum"]]
    )
    assert groups == [
        {
            "partner_id": [ann, "Ann"],
            "__count": 2,
            "amount_untaxed:sum": 25.0,
            "__extra_domain": [["partner_id", "=", ann]],
        }
    ]


def test_fields_get_describes_the_fields_of_the_version(odoo: SandboxOdoo, admin: odoorpc.ODOO) -> None:
    fields = admin.execute_kw("res.partner", "fields_get", [], {"attributes": ["type", "relation", "store"]})
    assert fields["category_id"] == {"type": "many2many", "relation": "res.partner.category", "store": True}
    assert fields["is_blacklisted"] == {"type": "boolean", "store": False}
    only_before_19 = {"mobile", "title"}
    assert only_before_19 & set(fields) == (set() if odoo.version[0] >= 19 else only_before_19)
    assert ("team_id" in fields) is (odoo.version[0] == 17)


@pytest.mark.parametrize("size", [200_000])
def test_large_tables_are_paged_by_id_without_a_look_at_every_row(odoo19: SandboxOdoo, size: int) -> None:
    ids = seed_many(odoo19, size)
    client = log_in(odoo19)
    partners, orders = odoo19.model("res.partner"), odoo19.model("sale.order")
    looked_at = 0

    class Watched(dict[int, dict[str, Any]]):
        def __getitem__(self, id: int) -> dict[str, Any]:
            nonlocal looked_at
            looked_at += 1
            return super().__getitem__(id)

    for model in (partners, orders):
        model.table.rows = Watched(model.table.rows)
    for model in ("res.partner", "sale.order"):
        page = client.execute_kw(
            model,
            "search_read",
            [[["id", ">", ids[150_000]]], ["name"]],
            {"order": "id", "limit": 500, "load": ""},
        )
        assert [record["id"] for record in page] == list(range(ids[150_001], ids[150_001] + 500))
    assert looked_at < 5_000
    looked_at = 0
    assert client.execute_kw("sale.order", "search_count", [[["partner_id", "=", ids[7]]]]) == 1
    assert looked_at < 100


def test_a_search_without_fields_fails_on_19_for_users_who_are_not_administrators(odoo: SandboxOdoo) -> None:
    odoo.add_user("bot", "secret")
    client = log_in(odoo, "bot", "secret")

    def search() -> Any:
        return client.execute_kw("res.partner", "search_read", [[]], {"limit": 1})

    if odoo.version[0] >= 19:
        name, message = error_of(search)
        assert name == "odoo.exceptions.AccessError"
        assert "rtc_session_ids" in message
    else:
        assert len(search()) == 1
