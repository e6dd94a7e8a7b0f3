"""What only Odoo 19.1 and later have, and what they have no more: after Odoo's source, not recorded.

Companies and upgrades are in ``test_companies_by_tax_id``.
"""

import odoorpc
import pytest
import requests

from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.odoo.server import DEFAULT_MODULES
from mc_pipeline_tests.sandbox.odoo.conftest import error_of, log_in


@pytest.fixture
def odoo20(switchboard) -> SandboxOdoo:
    board, url = switchboard
    odoo = SandboxOdoo((20, 0), modules=DEFAULT_MODULES | {"point_of_sale"})
    board.app, odoo.url = odoo.app, url
    return odoo


@pytest.fixture
def admin20(odoo20) -> odoorpc.ODOO:
    return log_in(odoo20)


def lines_of(client: odoorpc.ODOO, order: int) -> list[dict[str, object]]:
    found = client.execute_kw(
        "sale.order.line",
        "search_read",
        [[["order_id", "=", order]], ["name", "label", "product_id"]],
        {"order": "id", "load": ""},
    )
    assert isinstance(found, list)
    return found


def test_a_line_has_no_text_but_what_the_product_says_to_customers(odoo20, admin20):
    plain = odoo20.create("product.product", {"name": "Desk", "default_code": "DESK"})
    described = odoo20.create("product.product", {"name": "Chair", "description_sale": "Oak"})
    order = odoo20.add_order(
        odoo20.add_partner(name="Ann"),
        lines=[
            {"product_id": plain},
            {"product_id": described},
            {"name": "Work by the hour", "price_unit": 5.0},
        ],
    )
    shown = [(line["name"], line["label"], line["product_id"]) for line in lines_of(admin20, order)]
    assert shown == [
        (False, "[DESK] Desk", plain),
        ("Oak", "Chair\nOak", described),
        ("Work by the hour", "Work by the hour", False),
    ]


def test_a_label_needs_the_right_to_see_the_product_and_is_not_to_be_searched(odoo20, admin20):
    product = odoo20.create("product.product", {"name": "Desk"})
    order = odoo20.add_order(odoo20.add_partner(name="Ann"), lines=[{"product_id": product}])
    uid = odoo20.add_user("bot", "secret", groups=("sales_all",))
    odoo20.hide("product.product", [product], uid=uid)
    name, _ = error_of(lambda: lines_of(log_in(odoo20, "bot", "secret"), order))
    assert name == "odoo.exceptions.AccessError"
    search = [[["label", "ilike", "desk"]]]
    assert error_of(lambda: admin20.execute_kw("sale.order.line", "search", search))[0] == (
        "builtins.ValueError"
    )


def test_lines_made_before_the_upgrade_keep_their_text(odoo19):
    product = odoo19.create("product.product", {"name": "Desk"})
    order = odoo19.add_order(odoo19.add_partner(name="Ann"), lines=[{"product_id": product}])
    odoo19.upgrade((20, 0))
    assert [line["name"] for line in lines_of(log_in(odoo19), order)] == ["Desk"]


def test_every_internal_user_may_write_its_own_partner_and_asked_without_records_any(odoo20):
    uid = odoo20.add_user("bot", "secret")
    own, other = odoo20.read("res.users", uid, "partner_id")["partner_id"], odoo20.add_partner(name="Ann")
    bot = log_in(odoo20, "bot", "secret")

    def may(*ids: int, operation: str = "write") -> bool:
        return bool(bot.execute_kw("res.partner", "has_access", [list(ids), operation]))

    assert may()
    assert may(own)
    assert not may(other)
    assert not may(operation="create")
    assert bot.execute_kw("res.partner", "write", [[own], {"function": "Clerk"}])
    name, message = error_of(lambda: bot.execute_kw("res.partner", "write", [[other], {"function": "x"}]))
    assert name == "odoo.exceptions.AccessError"
    assert "Blame" not in message


@pytest.mark.parametrize(
    ("version", "word"), [((19, 0), "rules"), ((19, 4), "accesses"), ((20, 0), "accesses")]
)
def test_users_in_debug_mode_are_told_what_forbids_it(switchboard, version, word):
    board, url = switchboard
    odoo = SandboxOdoo(version)
    board.app, odoo.url = odoo.app, url
    uid = odoo.add_user("bot", "secret", groups=("partner_manager",))
    odoo.database.accounts[uid].debug = True
    hidden = odoo.add_partner(name="Ann")
    odoo.hide("res.partner", [hidden], uid=uid)
    bot = log_in(odoo, "bot", "secret")
    _, message = error_of(lambda: bot.execute_kw("res.partner", "read", [[hidden], ["name"]]))
    assert f"Blame the following {word}:\n- res.partner rule" in message


def test_what_is_gone_is_gone(odoo20, admin20):
    attribute = "builtins.AttributeError"
    assert (
        error_of(lambda: admin20.execute_kw("res.partner", "check_access_rights", ["read"]))[0] == attribute
    )
    old = [[], ["id:count"], ["type"]]
    assert error_of(lambda: admin20.execute_kw("res.partner", "read_group", old, {"lazy": False}))[0] == (
        "builtins.TypeError"
    )
    for call in (["db", "list", []], ["db", "server_version", []]):
        body = {"jsonrpc": "2.0", "params": dict(zip(("service", "method", "args"), call, strict=True))}
        assert "error" in requests.post(f"{odoo20.url}/jsonrpc", json=body, timeout=10).json()


def test_the_new_read_group_gives_rows_of_values(odoo20, admin20):
    ann = odoo20.add_partner(name="Ann")
    for amount in (10.0, 15.0):
        odoo20.add_order(ann, amount)
    rows = admin20.execute_kw(
        "sale.order", "read_group", [[], ["partner_id"], ["__count", "amount_untaxed:sum"]]
    )
    assert rows == [[[ann, "Ann"], 2, 25.0]]


@pytest.mark.parametrize(
    "leaf",
    [["name", "==", "Ann"], ["name", "<>", "Ann"], ["active", "=", 1], ["active", "in", ["True"]]],
)
def test_domains_are_strict(admin20, leaf):
    assert error_of(lambda: admin20.execute_kw("res.partner", "search", [[leaf]]))[0] == "builtins.ValueError"
    assert admin20.execute_kw("res.partner", "search_count", [[["active", "in", [True, False]]]])


def test_rights_are_rows_of_ir_access(admin20):
    assert admin20.execute_kw("ir.access", "search_count", [[]]) == 0
    assert error_of(lambda: admin20.execute_kw("ir.rule", "search_count", [[]]))[0] == (
        "odoo.exceptions.UserError"
    )


def test_only_keys_of_the_scope_rpc_log_in(odoo19):
    uid = odoo19.add_user("bot", "", groups=("sales_all",))
    old, scoped, other = (odoo19.add_api_key(uid, scope=scope) for scope in (None, "rpc", "mail"))
    accepted = [odoo19.database.login("bot", key) for key in (old, scoped, other)]
    assert accepted == [uid, uid, False]
    odoo19.upgrade((20, 0))
    new = odoo19.add_api_key(uid)
    accepted = [odoo19.database.login("bot", key) for key in (old, scoped, other, new)]
    assert accepted == [False, uid, False, uid]


def test_closings_of_tills_are_documents_from_20_on_and_entries_before(odoo20):
    for odoo, types in (
        (SandboxOdoo(modules=DEFAULT_MODULES | {"point_of_sale"}), ["entry"]),
        (odoo20, ["out_invoice", "out_refund"]),
    ):
        till = odoo.add_till("Shop")
        moves = odoo.close_till(till, 1000.0, 50.0, date="2026-03-01")
        booked = [odoo.read("account.move", move) for move in moves]
        assert [move["move_type"] for move in booked] == types
        field = "closing_journal_id" if odoo.version >= (20, 0) else "journal_id"
        closing = odoo.read("pos.config", till, field)[field]
        assert {move["journal_id"] for move in booked} == {closing}
        lines = odoo.search("account.move.line", [("move_id", "in", moves)])
        assert sum(odoo.read("account.move.line", line)["balance"] for line in lines) == -950.0
    assert [bool(move["pos_session_sales_id"]) for move in booked] == [True, False]
    assert [bool(move["pos_session_refunds_id"]) for move in booked] == [False, True]
    assert "invoice_journal_id" not in odoo20.model("pos.config").fields
