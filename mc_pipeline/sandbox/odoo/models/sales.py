"""Sales orders, their lines, and the wizard that cancels confirmed ones on Odoo 17 and 18."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mc_pipeline.sandbox.odoo.environment import Environment
from mc_pipeline.sandbox.odoo.errors import UserError
from mc_pipeline.sandbox.odoo.models.base import Model, remote
from mc_pipeline.sandbox.odoo.tables import Row


class SaleOrder(Model):
    """sale.order: draft, sent, sale, cancel."""

    description = "Sales Order"
    order = "date_order desc, id desc"
    indexed_texts = frozenset({"name"})

    # values

    def lines(self, row: Row) -> list[Row]:
        table = self.database.models["sale.order.line"].table
        return [table.rows[id] for id in sorted(table.with_value("order_id", row["id"]))]

    def invoices(self, row: Row) -> list[Row]:
        """Moves linked by their lines, drafts and credit notes included; unlinked ones are not among them."""
        moves = self.database.models.get("account.move")
        if moves is None:
            return []
        lines = self.database.models["account.move.line"].table
        found = {
            lines.rows[move_line]["move_id"]
            for line in self.lines(row)
            for move_line in lines.with_value("sale_line_ids", line["id"])
        }
        kinds = ("out_invoice", "out_refund")
        return [
            moves.table.rows[id] for id in sorted(found) if moves.table.rows[id].get("move_type") in kinds
        ]

    def compute_invoice_ids(self, env: Environment, row: Row) -> tuple[int, ...]:
        """Also those that a recording names without their lines."""
        return tuple(sorted({move["id"] for move in self.invoices(row)} | set(row.get("invoice_ids", ()))))

    def compute_invoice_count(self, env: Environment, row: Row) -> int:
        return len(self.compute_invoice_ids(env, row))

    def compute_amount_invoiced(self, env: Environment, row: Row) -> float:
        """Posted lines that are tied to the order's lines; typed lines and cash rounding do not count."""
        if "account.move.line" not in self.database.models:
            return 0.0
        move_lines = self.database.models["account.move.line"].table
        moves = self.database.models["account.move"].table
        total = 0.0
        for line in self.lines(row):
            for id in move_lines.with_value("sale_line_ids", line["id"]):
                move = moves.rows.get(move_lines.rows[id]["move_id"], {})
                if move.get("state") == "posted":
                    sign = -1 if move.get("move_type") == "out_refund" else 1
                    total += sign * move_lines.rows[id].get("price_total", 0.0)
        return round(total, 2)

    def compute_amount_to_invoice(self, env: Environment, row: Row) -> float:
        total: float = row.get("amount_total", 0.0)
        return round(total - self.compute_amount_invoiced(env, row), 2)

    def compute_country_code(self, env: Environment, row: Row) -> Any:
        company = self.database.models["res.company"].table.rows.get(row.get("company_id") or 0, {})
        partners = self.database.models["res.partner"]
        partner = partners.table.rows.get(company.get("partner_id") or 0)
        return partners.value(env, partner, "country_code") if partner is not None else False

    # changes

    def before_create(self, env: Environment, values: dict[str, Any]) -> dict[str, Any]:
        partner = values.get("partner_id")
        company = values.setdefault("company_id", env.company_id)
        if not values.get("name"):
            values["name"] = f"S{self.table.next_id:05d}"
        values.setdefault("date_order", env.now.replace(microsecond=0))
        values.setdefault("partner_invoice_id", self._address(partner, "invoice"))
        values.setdefault("partner_shipping_id", self._address(partner, "delivery"))
        currencies = self.database.models["res.currency"].table.rows
        own = self.database.models["res.company"].table.rows[company].get("currency_id")
        currency = values.setdefault("currency_id", own)
        rates = [currencies[id].get("rate", 1.0) if id in currencies else 1.0 for id in (currency, own)]
        values.setdefault("currency_rate", rates[0] / rates[1])
        if "amount_untaxed" in values or "amount_tax" in values:
            total = values.get("amount_untaxed", 0.0) + values.get("amount_tax", 0.0)
            values.setdefault("amount_total", round(total, 2))
        return values

    def _address(self, partner: Any, kind: str) -> Any:
        if not partner:
            return False
        table = self.database.models["res.partner"].table
        for id in sorted(table.with_value("parent_id", partner)):
            if table.rows[id].get("type") == kind and table.rows[id].get("active", True):
                return id
        return partner

    def after_write(
        self, env: Environment, row: Row, before: Mapping[str, Any], values: Mapping[str, Any]
    ) -> None:
        copied = {"partner_id": "order_partner_id", "state": "state", "currency_id": "currency_id"}
        changed = {
            copied[name]: row.get(name) for name in copied if name in before and before[name] != row.get(name)
        }
        if changed:
            lines = self.database.models["sale.order.line"]
            for line in self.lines(row):
                lines.table.update(line["id"], {**changed, "write_date": env.now, "write_uid": env.uid})

    def before_unlink(self, env: Environment, ids: Sequence[int]) -> None:
        for id in ids:
            if self.table.rows[id].get("state", "draft") not in ("draft", "cancel"):
                raise UserError(
                    "You can not delete a sent quotation or a confirmed sales order. "
                    "You must first cancel it."
                )
            lines = self.database.models["sale.order.line"].table
            for line in list(lines.with_value("order_id", id)):
                lines.delete(line)

    def sum_up(self, env: Environment, order_id: int) -> None:
        """Amounts of the order from its lines; the order is touched only when they change."""
        row = self.table.rows[order_id]
        lines = self.lines(row)
        untaxed = round(sum(line.get("price_subtotal", 0.0) for line in lines), 2)
        tax = round(sum(line.get("price_tax", 0.0) for line in lines), 2)
        amounts = {"amount_untaxed": untaxed, "amount_tax": tax, "amount_total": round(untaxed + tax, 2)}
        if any(abs(row.get(name, 0.0) - value) > 0.000001 for name, value in amounts.items()):
            self.table.update(order_id, amounts)
            self.touch(env, [order_id])
        self.follow_invoices(env, order_id)

    def follow_invoices(self, env: Environment, order_id: int) -> None:
        """Quantities invoiced and the order's invoice status; the order is touched only when that changes."""
        row = self.table.rows[order_id]
        if "account.move.line" not in self.database.models:
            return
        move_lines = self.database.models["account.move.line"].table
        moves = self.database.models["account.move"].table
        lines = self.database.models["sale.order.line"]
        statuses = set()
        for line in self.lines(row):
            invoiced = 0.0
            for id in move_lines.with_value("sale_line_ids", line["id"]):
                move_line = move_lines.rows[id]
                move = moves.rows[move_line["move_id"]]
                if move.get("state", "draft") != "cancel":
                    sign = -1 if move.get("move_type") == "out_refund" else 1
                    invoiced += sign * move_line.get("quantity", 0.0)
            open_quantity = line.get("product_uom_qty", 0.0) - invoiced
            if row.get("state", "draft") != "sale" or line.get("display_type"):
                status = "no"
            else:
                status = "to invoice" if open_quantity > 0 else "invoiced"
            values = {"qty_invoiced": invoiced, "qty_to_invoice": open_quantity, "invoice_status": status}
            if any(line.get(name, 0.0) != value for name, value in values.items()):
                lines.table.update(line["id"], values)
                lines.touch(env, [line["id"]])
            if not line.get("display_type"):
                statuses.add(status)
        status = (
            "to invoice" if "to invoice" in statuses else "invoiced" if statuses == {"invoiced"} else "no"
        )
        if row.get("invoice_status", "no") != status:
            self.table.update(order_id, {"invoice_status": status})
            self.touch(env, [order_id])

    # actions

    @remote(on_records=True)
    def action_confirm(self, env: Environment, ids: Sequence[int]) -> bool:
        """Confirming overwrites ``date_order`` with the present moment."""
        env.check_right("write", self)
        for id in ids:
            if self.table.rows[id].get("state", "draft") not in ("draft", "sent"):
                raise UserError("Some orders are not in a state requiring confirmation.")
            self.write_records(env, [id], {"state": "sale", "date_order": env.now.replace(microsecond=0)})
            self.follow_invoices(env, id)
        return True

    @remote(on_records=True)
    def action_cancel(self, env: Environment, ids: Sequence[int]) -> Any:
        """On 17 and 18 a confirmed order is not cancelled: the answer is a wizard to open."""
        env.check_right("write", self)
        rows = [self.table.rows[id] for id in ids]
        if any(row.get("locked", False) for row in rows):
            raise UserError("You cannot cancel a locked order. Please unlock it first.")
        if env.release.major < 19 and any(row.get("state", "draft") != "draft" for row in rows):
            return {
                "name": "Cancel Sales Order",
                "type": "ir.actions.act_window",
                "res_model": "sale.order.cancel",
                "view_mode": "form",
                "context": {"default_order_id": ids[0]},
                "target": "new",
            }
        self.cancel(env, ids)
        return True

    def cancel(self, env: Environment, ids: Iterable[int]) -> None:
        """Cancel orders; their amounts and invoices stay."""
        for id in ids:
            self.write_records(env, [id], {"state": "cancel"})
            self.follow_invoices(env, id)

    @remote(on_records=True)
    def action_draft(self, env: Environment, ids: Sequence[int]) -> bool:
        env.check_right("write", self)
        back = [id for id in ids if self.table.rows[id].get("state", "draft") in ("cancel", "sent")]
        self.write_records(env, back, {"state": "draft"})
        return True

    @remote(on_records=True)
    def action_lock(self, env: Environment, ids: Sequence[int]) -> bool:
        return self.write(env, ids, {"locked": True})

    @remote(on_records=True)
    def action_unlock(self, env: Environment, ids: Sequence[int]) -> bool:
        return self.write(env, ids, {"locked": False})


class SaleOrderLine(Model):
    """sale.order.line. Price and quantity touch the order; a text, or a line of price zero, does not."""

    description = "Sales Order Line"
    order = "order_id, sequence, id"

    def line_order(self, row: Row) -> Any:
        return (row.get("sequence", 0), row["id"])

    def compute_product_template_id(self, env: Environment, row: Row) -> Any:
        products = self.database.models["product.product"].table.rows
        return products.get(row.get("product_id") or 0, {}).get("product_tmpl_id", False)

    def compute_label(self, env: Environment, row: Row) -> Any:
        """From 20 on: the product, and below it the line's text. Needs the right to see the product."""
        products = self.database.models["product.product"]
        product = products.table.rows.get(row.get("product_id") or 0)
        if product is not None:
            products.check_access(env, [product["id"]], "read")
        parts = (product is not None and products.display_name(env, product), row.get("name", False))
        return "\n".join(str(part) for part in parts if part) or False

    def _order(self, row: Mapping[str, Any]) -> Row:
        return self.database.models["sale.order"].table.rows[row["order_id"]]

    def before_create(self, env: Environment, values: dict[str, Any]) -> dict[str, Any]:
        products = self.database.models["product.product"]
        product = products.table.rows.get(values.get("product_id") or 0)
        if env.release.since(20):  # no product name any more, only what the product says to customers
            described = products.value(env, product, "description_sale") if product is not None else ""
            values.setdefault("name", described or "")
        if product is not None:
            values.setdefault("name", products.display_name(env, product))
            values.setdefault("price_unit", products.value(env, product, "list_price"))
        values.setdefault("product_uom_qty", 0.0 if values.get("display_type") else 1.0)
        values.setdefault("price_unit", 0.0)
        if values.get("order_id"):
            order = self._order(values)
            if order.get("locked", False):
                raise UserError(
                    "It is forbidden to modify the following fields in a locked order:\nOrder Lines"
                )
            values |= {
                "company_id": order.get("company_id"),
                "currency_id": order.get("currency_id"),
                "order_partner_id": order.get("partner_id"),
                "salesman_id": order.get("user_id", False),
                "state": order.get("state", "draft"),
            }
        return values

    def after_create(self, env: Environment, row: Row, values: Mapping[str, Any]) -> None:
        self._price(row)
        self._orders().sum_up(env, row["order_id"])

    def before_write(self, env: Environment, ids: Sequence[int], values: dict[str, Any]) -> dict[str, Any]:
        locked = any(self._order(self.table.rows[id]).get("locked", False) for id in ids)
        if locked and {"price_unit", "product_uom_qty", "discount", "product_id"} & set(values):
            raise UserError("It is forbidden to modify the following fields in a locked order:\nOrder Lines")
        return values

    def after_write(
        self, env: Environment, row: Row, before: Mapping[str, Any], values: Mapping[str, Any]
    ) -> None:
        self._price(row)
        self._orders().sum_up(env, row["order_id"])

    def before_unlink(self, env: Environment, ids: Sequence[int]) -> None:
        for id in ids:
            row = self.table.rows[id]
            if self._order(row).get("state", "draft") == "sale" and not row.get("display_type"):
                raise UserError(
                    "Once a sales order is confirmed, you can't remove one of its lines (we need to track if "
                    "something gets invoiced or delivered).\nSet the quantity to 0 instead."
                )

    def unlink_records(self, env: Environment, ids: Sequence[int]) -> None:
        orders = {self.table.rows[id]["order_id"] for id in ids}
        super().unlink_records(env, ids)
        for order in sorted(orders):
            self._orders().sum_up(env, order)

    def _orders(self) -> SaleOrder:
        orders = self.database.models["sale.order"]
        assert isinstance(orders, SaleOrder)
        return orders

    def _price(self, row: Row) -> None:
        """Subtotal, tax and total of a line."""
        quantity, price = row.get("product_uom_qty", 0.0), row.get("price_unit", 0.0)
        amount = quantity * price * (1 - row.get("discount", 0.0) / 100)
        untaxed, tax = taxed(self, row.get("tax_ids") or row.get("tax_id") or (), amount)
        unit = round(untaxed / quantity, 2) if quantity else 0.0
        amounts = {"price_subtotal": untaxed, "price_tax": tax, "price_total": round(untaxed + tax, 2)}
        self.table.update(row["id"], {**amounts, "price_reduce_taxexcl": unit})


def taxed(model: Model, tax_ids: Iterable[int], amount: float) -> tuple[float, float]:
    """Untaxed amount and tax of an amount under percentage taxes, rounded to cents."""
    taxes = model.database.models["account.tax"].table.rows if "account.tax" in model.database.models else {}
    rates = [taxes[id] for id in tax_ids if id in taxes]
    included = sum(rate.get("amount", 0.0) for rate in rates if rate.get("price_include", False))
    excluded = sum(rate.get("amount", 0.0) for rate in rates if not rate.get("price_include", False))
    untaxed = round(amount / (1 + included / 100), 2)
    return untaxed, round(amount - untaxed if included else 0.0, 2) + round(untaxed * excluded / 100, 2)


class SaleOrderCancel(Model):
    """sale.order.cancel: the wizard that cancels confirmed orders on 17 and 18."""

    description = "Sales Order Cancel"
    transient = True

    @remote(on_records=True)
    def action_cancel(self, env: Environment, ids: Sequence[int]) -> bool:
        orders = self.database.models["sale.order"]
        assert isinstance(orders, SaleOrder)
        env.check_right("write", orders)
        orders.cancel(env, [self.table.rows[id]["order_id"] for id in ids])
        return True
