"""Invoices and credit notes: posting, crediting, paying, and what that touches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mc_pipeline.sandbox.odoo.domains import Test
from mc_pipeline.sandbox.odoo.environment import Environment
from mc_pipeline.sandbox.odoo.errors import UserError
from mc_pipeline.sandbox.odoo.fields import Field
from mc_pipeline.sandbox.odoo.models.base import Model, remote
from mc_pipeline.sandbox.odoo.models.sales import SaleOrder, taxed
from mc_pipeline.sandbox.odoo.tables import Row

if TYPE_CHECKING:
    from mc_pipeline.sandbox.odoo.database import Database

_PREFIX = {"out_invoice": "INV", "out_refund": "RINV", "in_invoice": "BILL", "in_refund": "RBILL"}
_RANKS = {
    "out_invoice": "customer_rank", "out_refund": "customer_rank",
    "in_invoice": "supplier_rank", "in_refund": "supplier_rank",
}  # fmt: skip


class Move(Model):
    """account.move. Amounts are positive on credit notes too; the signed ones are in company currency."""

    description = "Journal Entry"
    order = "date desc, name desc, invoice_date desc, id desc"

    def __init__(self, database: Database, name: str, fields: Mapping[str, Field]) -> None:
        super().__init__(database, name, fields)
        self._numbers: dict[str, int] = {}

    def one2many_filter(self, field: str) -> Test:
        if field == "invoice_line_ids":
            return lambda row: row.get("display_type", "product") in ("product", "line_section", "line_note")
        return super().one2many_filter(field)

    def own_name(self, env: Environment, row: Row) -> str:
        name = row.get("name")
        return str(name) if name and name != "/" else "Draft Invoice"

    def compute_company_currency_id(self, env: Environment, row: Row) -> Any:
        companies = self.database.models["res.company"].table.rows
        return companies.get(row.get("company_id") or 0, {}).get("currency_id", False)

    def lines(self, row: Row) -> list[Row]:
        table = self.database.models["account.move.line"].table
        return [table.rows[id] for id in sorted(table.with_value("move_id", row["id"]))]

    def before_create(self, env: Environment, values: dict[str, Any]) -> dict[str, Any]:
        company = values.setdefault("company_id", env.company_id)
        companies = self.database.models["res.company"].table.rows
        values.setdefault("currency_id", companies[company].get("currency_id"))
        values.setdefault("date", values.get("invoice_date") or env.now.date())
        values.setdefault("name", "/" if env.release.major == 17 else False)
        if values.get("partner_id"):
            partners = self.database.models["res.partner"]
            partner = partners.table.rows[values["partner_id"]]
            values.setdefault("commercial_partner_id", partners.value(env, partner, "commercial_partner_id"))
        return values

    def after_create(self, env: Environment, row: Row, values: Mapping[str, Any]) -> None:
        self.sum_up(env, row)
        self._tell_orders(env, row)

    def before_write(self, env: Environment, ids: Sequence[int], values: dict[str, Any]) -> dict[str, Any]:
        locked = {"partner_id", "currency_id", "invoice_line_ids", "line_ids", "move_type"} & set(values)
        if locked and any(self.table.rows[id].get("state") == "posted" for id in ids):
            raise UserError("You cannot modify a posted entry of this journal because it is in strict mode.")
        return values

    def before_unlink(self, env: Environment, ids: Sequence[int]) -> None:
        lines = self.database.models["account.move.line"].table
        for id in ids:
            row = self.table.rows[id]
            if row.get("state") == "posted" or row.get("posted_before", False):
                raise UserError("You cannot delete an entry which has been posted once.")
            for line in list(lines.with_value("move_id", id)):
                lines.delete(line)

    def sum_up(self, env: Environment, row: Row) -> None:
        """Totals from the lines, and the signed totals in company currency."""
        products = [line for line in self.lines(row) if line.get("display_type", "product") == "product"]
        if products:
            untaxed = round(sum(line.get("price_subtotal", 0.0) for line in products), 2)
            total = round(sum(line.get("price_total", 0.0) for line in products), 2)
        else:
            untaxed, total = row.get("amount_untaxed", 0.0), row.get("amount_total", 0.0)
            total = total or round(untaxed + row.get("amount_tax", 0.0), 2)
        tax = round(total - untaxed, 2)
        sign = -1 if row.get("move_type") in ("out_refund", "in_invoice") else 1
        rate = self._rate(env, row)
        self.table.update(
            row["id"],
            {
                "amount_untaxed": untaxed,
                "amount_tax": tax,
                "amount_total": total,
                "amount_residual": total,
                "amount_untaxed_signed": round(sign * untaxed / rate, 2),
                "amount_tax_signed": round(sign * tax / rate, 2),
                "amount_total_signed": round(sign * total / rate, 2),
                "amount_total_in_currency_signed": sign * total,
                "amount_residual_signed": round(sign * total / rate, 2),
            },
        )

    def _rate(self, env: Environment, row: Row) -> float:
        currencies = self.database.models["res.currency"].table.rows
        own = currencies.get(self.compute_company_currency_id(env, row) or 0, {}).get("rate", 1.0)
        return float(currencies.get(row.get("currency_id") or 0, {}).get("rate", 1.0) / own)

    def orders_of(self, row: Row) -> list[int]:
        """Sales orders whose lines this move's lines are tied to."""
        if "sale.order" not in self.database.models:
            return []
        order_lines = self.database.models["sale.order.line"].table.rows
        return sorted(
            {
                order_lines[id]["order_id"]
                for line in self.lines(row)
                for id in line.get("sale_line_ids", ())
                if id in order_lines
            }
        )

    def _tell_orders(self, env: Environment, row: Row) -> None:
        for order in self.orders_of(row):
            orders = self.database.models["sale.order"]
            assert isinstance(orders, SaleOrder)
            orders.follow_invoices(env, order)

    @remote(on_records=True)
    def action_post(self, env: Environment, ids: Sequence[int]) -> bool:
        """Number and post; lines are touched. A credit note settles the invoice it reverses."""
        env.check_right("write", self)
        for id in ids:
            row = self.table.rows[id]
            if row.get("state", "draft") != "draft":
                raise UserError("The entry must be in draft.")
            day = row.get("invoice_date") or env.now.date()
            values: dict[str, Any] = {
                "state": "posted",
                "invoice_date": day,
                "date": day,
                "posted_before": True,
            }
            if row.get("name", "/") in (False, "/"):
                prefix = _PREFIX.get(row.get("move_type", "entry"), "MISC")
                values["name"] = self._next_number(prefix, day.year)
            if not row.get("invoice_date_due"):
                values["invoice_date_due"] = day
            self.write_records(env, [id], values)
            self._set_lines(env, row, {"parent_state": "posted", "date": day})
            self._touch_order_lines(env, row)
            if row.get("move_type") == "out_refund":
                if env.release.major == 17:
                    self.database.models["sale.order"].touch(env, self.orders_of(row))
                if row.get("reversed_entry_id"):
                    self._settle(env, row, self.table.rows[row["reversed_entry_id"]])
            if rank := _RANKS.get(row.get("move_type", "entry")):
                self._count(env, row, rank)
        return True

    def _next_number(self, prefix: str, year: int) -> str:
        """The number after the highest one used, gaps stay gaps."""
        start = f"{prefix}/{year}/"
        if start not in self._numbers:
            used = (str(row.get("name")) for row in self.table.rows.values())
            taken = [int(name.removeprefix(start)) for name in used if name.startswith(start)]
            self._numbers[start] = max(taken, default=0)
        self._numbers[start] += 1
        return f"{start}{self._numbers[start]:05d}"

    @remote(on_records=True)
    def button_draft(self, env: Environment, ids: Sequence[int]) -> bool:
        env.check_right("write", self)
        for id in ids:
            self.write_records(env, [id], {"state": "draft", "payment_state": "not_paid"})
            self._set_lines(env, self.table.rows[id], {"parent_state": "draft"})
            self._tell_orders(env, self.table.rows[id])
        return True

    @remote(on_records=True)
    def button_cancel(self, env: Environment, ids: Sequence[int]) -> bool:
        env.check_right("write", self)
        for id in ids:
            self.write_records(env, [id], {"state": "cancel"})
            self._set_lines(env, self.table.rows[id], {"parent_state": "cancel"})
            self._tell_orders(env, self.table.rows[id])
        return True

    def pay(self, env: Environment, id: int, amount: float | None = None) -> None:
        """Register a payment: the invoice changes, the order does not."""
        row = self.table.rows[id]
        if row.get("state") != "posted":
            raise UserError("You can only register payment for posted journal entries.")
        self._reduce(env, row, row["amount_residual"] if amount is None else amount, "paid")

    def _settle(self, env: Environment, refund: Row, invoice: Row) -> None:
        amount = min(refund["amount_total"], invoice.get("amount_residual", 0.0))
        self._reduce(env, invoice, amount, "reversed")
        self._reduce(env, refund, refund["amount_total"], "paid")

    def _reduce(self, env: Environment, row: Row, amount: float, when_settled: str) -> None:
        left = round(row.get("amount_residual", 0.0) - amount, 2)
        total = row.get("amount_total", 0.0)
        share = left / total if total else 0.0
        state = when_settled if left <= 0 else "partial" if left < total else "not_paid"
        signed = round(row.get("amount_total_signed", 0.0) * share, 2)
        self.write_records(
            env,
            [row["id"]],
            {"amount_residual": left, "amount_residual_signed": signed, "payment_state": state},
        )

    def _set_lines(self, env: Environment, row: Row, values: Mapping[str, Any]) -> None:
        lines = self.database.models["account.move.line"]
        for line in self.lines(row):
            lines.table.update(line["id"], {**values, "write_date": env.now, "write_uid": env.uid})

    def _touch_order_lines(self, env: Environment, row: Row) -> None:
        if "sale.order.line" in self.database.models:
            tied = {id for line in self.lines(row) for id in line.get("sale_line_ids", ())}
            self.database.models["sale.order.line"].touch(env, sorted(tied))

    def _count(self, env: Environment, row: Row, rank: str) -> None:
        """The rank of the partner and of its company rises; only 19 touches them."""
        partners = self.database.models["res.partner"]
        for each in {row.get("partner_id"), row.get("commercial_partner_id")}:
            if each and (partner := partners.table.rows.get(each)):
                partners.table.update(each, {rank: partner.get(rank, 0) + 1})
                if env.release.major >= 19:
                    partners.touch(env, [each])


class MoveLine(Model):
    """account.move.line. ``balance`` is in company currency: negative for what is sold."""

    description = "Journal Item"
    order = "date desc, move_id, id"

    def line_order(self, row: Row) -> Any:
        return (row.get("sequence", 0), row["id"])

    def own_name(self, env: Environment, row: Row) -> str:
        return str(row.get("name") or "")

    def _move(self, row: Mapping[str, Any]) -> Row:
        return self.database.models["account.move"].table.rows[row["move_id"]]

    def compute_move_type(self, env: Environment, row: Row) -> Any:
        return self._move(row).get("move_type", "entry")

    def before_create(self, env: Environment, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("move_id"):
            move = self._move(values)
            moves = self.database.models["account.move"]
            values = {
                "company_id": move.get("company_id", False),
                "currency_id": move.get("currency_id", False),
                "company_currency_id": moves.value(env, move, "company_currency_id"),
                "partner_id": move.get("partner_id", False),
                "parent_state": move.get("state", "draft"),
                "date": move.get("date", False),
                "journal_id": move.get("journal_id", False),
                **values,
            }
        if not values.get("display_type") or values["display_type"] == "product":
            values.setdefault("quantity", 1.0)
            values.setdefault("account_id", self._income_account())
        return values

    def _income_account(self) -> int | bool:
        """The account that goods are booked on."""
        accounts = self.database.models["account.account"].table
        return min(accounts.with_value("account_type", "income"), default=False)

    def compute_account_type(self, env: Environment, row: Row) -> Any:
        accounts = self.database.models["account.account"].table.rows
        return accounts.get(row.get("account_id") or 0, {}).get("account_type", False)

    def after_create(self, env: Environment, row: Row, values: Mapping[str, Any]) -> None:
        if row.get("display_type", "product") != "product":
            return
        amount = row.get("quantity", 0.0) * row.get("price_unit", 0.0) * (1 - row.get("discount", 0.0) / 100)
        untaxed, tax = taxed(self, row.get("tax_ids", ()), amount)
        move = self._move(row)
        sign = 1 if move.get("move_type") in ("out_refund", "in_invoice") else -1
        moves = self.database.models["account.move"]
        assert isinstance(moves, Move)
        self.table.update(
            row["id"],
            {
                "price_subtotal": untaxed,
                "price_total": round(untaxed + tax, 2),
                "amount_currency": sign * untaxed,
                "balance": round(sign * untaxed / moves._rate(env, move), 2),
            },
        )
