"""Companies, rights and record rules: what a user sees, and how silently the rest is missing."""

from __future__ import annotations

from typing import Any

import odoorpc
import pytest

from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.sandbox.odoo.conftest import error_of, log_in


@pytest.fixture
def second(odoo: SandboxOdoo) -> int:
    """A second company; partners and an order in each, and a shared partner."""
    second = odoo.add_company("Second", currency="USD", country="US")
    for name, company in (("One", 1), ("Two", second), ("Shared", False)):
        odoo.add_partner(name=name, company_id=company, ref="t")
    (one, two) = (odoo.search("res.partner", [("name", "=", name)])[0] for name in ("One", "Two"))
    odoo.add_order(one, 5.0, company_id=1)
    odoo.add_order(two, 5.0, company_id=second)
    return second


def _seen(client: odoorpc.ODOO, allowed: list[int] | None) -> tuple[list[str], int]:
    context: dict[str, Any] = {} if allowed is None else {"allowed_company_ids": allowed}
    found = client.execute_kw(
        "res.partner", "search_read", [[["ref", "=", "t"]], ["name"]], {"order": "id", "context": context}
    )
    orders = client.execute_kw("sale.order", "search_count", [[]], {"context": context})
    return [record["name"] for record in found], orders


@pytest.mark.parametrize("administrator", [False, True])
def test_companies_limit_what_is_seen_and_without_a_choice_all_of_the_users_count(
    odoo: SandboxOdoo, second: int, administrator: bool
) -> None:
    if administrator:
        client = log_in(odoo)
    else:
        odoo.add_user("bot", "secret", company_ids=(1, second), groups=("sales_all",))
        client = log_in(odoo, "bot", "secret")
    assert _seen(client, None) == (["One", "Two", "Shared"], 2)
    assert _seen(client, [1]) == (["One", "Shared"], 1)
    assert _seen(client, [second]) == (["Two", "Shared"], 1)
    assert _seen(client, [1, second]) == (["One", "Two", "Shared"], 2)


def test_a_company_that_the_user_does_not_have_is_refused(odoo: SandboxOdoo, second: int) -> None:
    odoo.add_user("bot", "secret", company_ids=(1,), groups=("sales_all",))
    client = log_in(odoo, "bot", "secret")
    assert _seen(client, None) == (["One", "Shared"], 1)
    assert error_of(lambda: _seen(client, [1, second])) == (
        "odoo.exceptions.AccessError",
        "Access to unauthorized or invalid companies.",
    )


def test_reading_another_companys_record_fails_for_the_whole_call(odoo: SandboxOdoo, second: int) -> None:
    odoo.add_user("bot", "secret", company_ids=(1, second), groups=("sales_all",))
    client = log_in(odoo, "bot", "secret")
    ids = odoo.search("res.partner", [("ref", "=", "t")], order="id")
    options = {"context": {"allowed_company_ids": [1]}}
    assert error_of(lambda: client.execute_kw("res.partner", "read", [ids, ["name"]], options))[0] == (
        "odoo.exceptions.AccessError"
    )
    assert len(client.execute_kw("res.partner", "read", [ids, ["name"]])) == 3


def test_internal_users_partners_show_in_every_company_until_the_user_is_archived(
    odoo: SandboxOdoo, second: int
) -> None:
    uid = odoo.add_user("clerk", name="Clerk")
    partner = odoo.read("res.users", uid, "partner_id")["partner_id"]
    odoo.edit_partner(partner, company_id=1, ref="t")
    assert "Clerk" in _seen(log_in(odoo), [second])[0]
    odoo.write("res.users", uid, {"active": False})
    assert odoo.read("res.partner", partner, "partner_share", "user_ids") == {
        "id": partner,
        "partner_share": True,
        "user_ids": [],
    }
    assert "Clerk" not in _seen(log_in(odoo), [second])[0]


def test_sums_depend_on_the_companies_of_the_call(odoo: SandboxOdoo, second: int) -> None:
    (one,) = odoo.search("res.partner", [("name", "=", "One")])
    odoo.invoice_order(odoo.add_order(one, 0.0, company_id=1, lines=[{"name": "Thing", "price_unit": 500.0}]))
    client = log_in(odoo)

    def sums(allowed: list[int]) -> tuple[float, int]:
        (record,) = client.execute_kw(
            "res.partner",
            "read",
            [[one], ["total_invoiced", "sale_order_count"]],
            {"context": {"allowed_company_ids": [*allowed]}},
        )
        return record["total_invoiced"], record["sale_order_count"]

    assert sums([1]) == (500.0, 2)
    assert sums([1, second]) == (500.0, 2)


def test_only_own_documents_hides_other_peoples_orders_without_an_error(odoo: SandboxOdoo) -> None:
    own = odoo.add_user("seller", "secret", groups=("sales_own",))
    everything = odoo.add_user("chief", "secret", groups=("sales_all",))
    partner = odoo.add_partner(name="A")
    mine, theirs = odoo.add_order(partner, 5.0, user_id=own), odoo.add_order(partner, 5.0, user_id=everything)
    nobodys = odoo.add_order(partner, 5.0)
    seller = log_in(odoo, "seller", "secret")
    assert seller.execute_kw("sale.order", "search", [[]], {"order": "id"}) == [mine, nobodys]
    assert error_of(lambda: seller.execute_kw("sale.order", "read", [[theirs], ["name"]]))[0] == (
        "odoo.exceptions.AccessError"
    )
    assert log_in(odoo, "chief", "secret").execute_kw("sale.order", "search_count", [[]]) == 3
    groups = ("sales_team.group_sale_salesman", "sales_team.group_sale_salesman_all_leads")
    myself: list[Any] = [] if odoo.version[0] == 17 else [[own]]
    has = [seller.execute_kw("res.users", "has_group", [*myself, group]) for group in groups]
    assert has == [True, False]


def test_a_record_rule_hides_rows_from_one_user(odoo: SandboxOdoo, admin: odoorpc.ODOO) -> None:
    hidden, shown = odoo.add_partner(name="A", ref="t"), odoo.add_partner(name="B", ref="t")
    uid = odoo.add_user("bot", "secret")
    odoo.hide("res.partner", [hidden], uid=uid)
    bot = log_in(odoo, "bot", "secret")
    domain = [["ref", "=", "t"]]
    assert bot.execute_kw("res.partner", "search", [domain]) == [shown]
    assert bot.execute_kw("res.partner", "search_count", [domain]) == 1
    assert admin.execute_kw("res.partner", "search_count", [domain]) == 2


def test_a_right_can_be_taken_away(odoo: SandboxOdoo) -> None:
    uid = odoo.add_user("bot", "secret", groups=("sales_all",))
    bot = log_in(odoo, "bot", "secret")
    assert bot.execute_kw("sale.order", "search_count", [[]]) == 0
    odoo.deny(uid, "sale.order")
    for method, args in (("search", [[]]), ("search_read", [[]]), ("read", [[1]]), ("fields_get", [])):
        name, message = error_of(lambda method=method, args=args: bot.execute_kw("sale.order", method, args))  # type: ignore[misc]
        assert name == "odoo.exceptions.AccessError"
        assert message.startswith("You are not allowed to access 'Sales Order' (sale.order) records.")


@pytest.mark.parametrize(
    ("groups", "model", "operation"),
    [
        (("internal",), "res.partner", "create"),
        (("internal",), "sale.order", "search"),
        (("sales_all",), "mail.blacklist", "search"),
        (("email_marketing",), "account.move", "search"),
        (("portal",), "res.partner", "search"),
    ],
)
def test_groups_give_only_their_rights(
    odoo: SandboxOdoo, groups: tuple[str, ...], model: str, operation: str
) -> None:
    odoo.add_user("bot", "secret", groups=groups, share="portal" in groups)
    bot = log_in(odoo, "bot", "secret")
    args = [{"name": "A"}] if operation == "create" else [[]]
    assert error_of(lambda: bot.execute_kw(model, operation, args))[0] == "odoo.exceptions.AccessError"


def test_a_field_of_another_group_behaves_differently_per_version(odoo: SandboxOdoo) -> None:
    partner = odoo.add_partner(name="A", ref="t")
    odoo.invoice_order(odoo.add_order(partner, lines=[{"name": "Thing", "price_unit": 5.0}]))
    odoo.add_user("bot", "secret")
    bot = log_in(odoo, "bot", "secret")
    assert error_of(lambda: bot.execute_kw("res.partner", "read", [[partner], ["credit"]]))[0] == (
        "odoo.exceptions.AccessError"
    )

    def search() -> Any:
        return bot.execute_kw("res.partner", "search", [[["credit", ">", 0]]])

    if odoo.version[0] == 17:
        assert error_of(search)[0] == "odoo.exceptions.AccessError"
    else:
        assert search() == ([] if odoo.version[0] == 18 else [partner])


def test_users_other_than_administrators_see_the_companies_of_the_call_only(
    odoo: SandboxOdoo, second: int
) -> None:
    odoo.add_user("bot", "secret", company_ids=(1, second))
    bot = log_in(odoo, "bot", "secret")
    assert bot.execute_kw("res.company", "search", [[]], {"order": "id"}) == [1, second]
    limited = {"context": {"allowed_company_ids": [second]}}
    assert bot.execute_kw("res.company", "search", [[]], limited) == [second]
    assert log_in(odoo).execute_kw("res.company", "search_count", [[]], limited) == 2


def test_an_archived_company_stays_the_users_and_a_call_that_names_it_is_refused(
    odoo: SandboxOdoo, second: int
) -> None:
    odoo.add_user("bot", "secret", company_ids=(1, second), groups=("sales_all",))
    odoo.write("res.company", second, {"active": False})
    bot = log_in(odoo, "bot", "secret")

    def companies(**context: Any) -> list[int]:
        (user,) = bot.execute_kw("res.users", "read", [[bot.env.uid], ["company_ids"]], {"context": context})
        return list(user["company_ids"])

    assert companies() == [1]
    assert companies(active_test=False) == [1, second]
    assert _seen(bot, None) == (["One", "Shared"], 1)
    for allowed in ([second], [1, second]):
        assert error_of(lambda allowed=allowed: _seen(bot, allowed)) == (  # type: ignore[misc]
            "odoo.exceptions.AccessError",
            "Access to unauthorized or invalid companies.",
        )
    everything = {"context": {"allowed_company_ids": [1], "active_test": False}}
    assert bot.execute_kw("res.company", "search", [[]], everything) == [1]
    assert log_in(odoo).execute_kw("res.company", "search", [[]], everything) == [1, second]
