"""What people do at a real Odoo's screens: edit a customer, confirm an order, blacklist somebody.

These acts go around rights and are recorded in the journal as acts of a person. Nothing here is served.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from mc_pipeline.sandbox.journal import Journal
from mc_pipeline.sandbox.odoo.access import Account, RecordRule
from mc_pipeline.sandbox.odoo.database import Database
from mc_pipeline.sandbox.odoo.environment import Environment
from mc_pipeline.sandbox.odoo.models.accounting import Move
from mc_pipeline.sandbox.odoo.models.base import Model
from mc_pipeline.sandbox.odoo.models.consent import Blacklist
from mc_pipeline.sandbox.odoo.models.messages import Message
from mc_pipeline.sandbox.odoo.models.partner import MergeWizard
from mc_pipeline.sandbox.odoo.models.sales import SaleOrder
from mc_pipeline.sandbox.odoo.versions import Release

AModel = TypeVar("AModel", bound=Model)


class Acts:
    """What a person does on one server. Methods without ``database`` act on the first one."""

    def __init__(self, release: Release, databases: Mapping[str, Database], journal: Journal) -> None:
        self.release = release
        self.databases = databases
        self.database = next(iter(databases.values()))
        self.journal = journal

    # direct access to the data

    def model(self, name: str) -> Model:
        """A model of the first database; KeyError when it is not installed."""
        return self.database.models[name]

    def _known(self, name: str, kind: type[AModel]) -> AModel:
        model = self.model(name)
        assert isinstance(model, kind)
        return model

    def at(self, moment: datetime) -> AbstractContextManager[None]:
        """Everything inside happens at this moment; also a transaction that began then and commits now."""
        return self.database.at(moment if moment.tzinfo else moment.replace(tzinfo=UTC))

    @contextmanager
    def _as_person(self, action: str, path: str, **details: Any) -> Iterator[Environment]:
        env = self.database.superuser()
        with self.database.transaction(env):
            yield env
        self.journal.act("person", action, path, details)

    def create(self, model: str, values: Mapping[str, Any], *, company_id: int | None = None) -> int:
        """Create a record as a person, with everything Odoo does about it."""
        with self._as_person("create", model, values=values) as env:
            allowed = env if company_id is None else env.with_context(allowed_company_ids=[company_id])
            return self.model(model).create_records(allowed, [values])[0]

    def write(self, model: str, ids: int | Sequence[int], values: Mapping[str, Any]) -> None:
        """Edit records as a person."""
        with self._as_person("write", model, ids=ids, values=values) as env:
            self.model(model).write_records(env, _listed(ids), values)

    def unlink(self, model: str, ids: int | Sequence[int]) -> None:
        """Delete records as a person; raises what Odoo would show."""
        with self._as_person("unlink", model, ids=ids) as env:
            self.model(model).unlink_records(env, _listed(ids))

    def search(self, model: str, domain: Sequence[Any] = (), **options: Any) -> list[int]:
        """Ids of matching records, archived ones too."""
        return self.model(model).find(self.database.superuser(), list(domain), **options)

    def read(self, model: str, id: int, *fields: str) -> dict[str, Any]:
        """One record as RPC shows it, many2one as bare ids."""
        return self.model(model).read(self.database.superuser(), [id], list(fields) or None, "")[0]

    def notes(self, model: str, id: int) -> list[str]:
        """The messages in a record's chatter, oldest first, as HTML."""
        rows = self._known("mail.message", Message).about(model, id)
        return [str(row.get("body") or "") for row in rows]

    # users and companies

    def add_company(self, name: str, *, currency: str = "EUR", country: str | None = None) -> int:
        """Add a company with its partner; the administrator gets it too."""
        (currency_id,) = self.search("res.currency", [("name", "=", currency)])
        company = self.create("res.company", {"name": name, "currency_id": currency_id})
        if country:
            (country_id,) = self.search("res.country", [("code", "=", country)])
            partner = self.read("res.company", company, "partner_id")["partner_id"]
            self.write("res.partner", partner, {"country_id": country_id})
        for account in self.database.accounts.values():
            if "admin" in account.groups:
                users = self.model("res.users").table
                users.update(
                    account.uid, {"company_ids": (*users.rows[account.uid].get("company_ids", ()), company)}
                )
        return company

    def add_user(
        self,
        login: str,
        password: str = "",
        *,
        name: str | None = None,
        company_ids: Sequence[int] = (1,),
        groups: Sequence[str] = ("internal",),
        share: bool = False,
        active: bool = True,
        two_factor: bool = False,
        partner_id: int | None = None,
    ) -> int:
        """Add a user and, without ``partner_id``, a partner. ``share`` is true for portal users.

        ``groups`` are names of ``access.GROUPS``; raises ValueError for others.
        """
        values: dict[str, Any] = {
            "login": login,
            "company_id": company_ids[0],
            "company_ids": [(6, 0, list(company_ids))],
            "share": share,
            "active": active,
        }
        if partner_id is not None:
            values["partner_id"] = partner_id
        else:
            values |= {"name": name or login, "email": login if "@" in login else False}
        uid = self.create("res.users", values)
        groups = ("portal",) if share and tuple(groups) == ("internal",) else tuple(groups)
        self.database.accounts[uid] = Account(uid, login, password, frozenset(groups), two_factor=two_factor)
        return uid

    def add_api_key(
        self,
        uid: int,
        *,
        name: str = "integration",
        expires: datetime | None = None,
        database: str | None = None,
        scope: str | None = None,
    ) -> str:
        """A new API key of a user: 40 hexadecimal characters. From Odoo 18 on it may end at ``expires``.

        ``scope``: what Odoo's own screen gives it unless named: none until 19, "rpc" from 20 on.
        """
        key = secrets.token_hex(20)
        held = self.database if database is None else self.databases[database]
        values = {"name": name, "user_id": uid, "create_date": held.now()}
        if scope := scope or ("rpc" if self.release.since(20) else None):
            values["scope"] = scope
        if expires is not None:
            values["expiration_date"] = expires.astimezone(UTC).replace(tzinfo=None)
        held.accounts[uid].api_keys[key] = held.models["res.users.apikeys"].table.insert(values)
        return key

    def expire_api_key(self, uid: int, key: str) -> None:
        """The key no longer logs in; workers that know it go on accepting it until they restart."""
        row = self.database.accounts[uid].api_keys[key]
        ended = self.database.now() - timedelta(seconds=1)
        self.model("res.users.apikeys").table.update(row, {"expiration_date": ended})

    def restart_workers(self) -> None:
        """Workers restart: they forget which secrets they had checked."""
        self.database.restart_workers()

    def deny(self, uid: int, model: str, operation: str = "read") -> None:
        """Take a right on a model away from a user."""
        self.database.accounts[uid].denied.add((model, operation))

    def hide(self, model: str, ids: Sequence[int], *, uid: int | None = None) -> None:
        """A record rule that hides these records from a user, or from everybody."""
        self.database.rules.append(
            RecordRule(
                model,
                lambda env: [("id", "not in", list(ids))],
                None if uid is None else lambda env: env.uid == uid,
            )
        )

    # partners

    def add_partner(self, **values: Any) -> int:
        """Add a partner; ``tags`` are ids, ``country`` is a code, ``email`` as a person would type it."""
        tags, country = values.pop("tags", None), values.pop("country", None)
        if tags:
            values["category_id"] = [(6, 0, list(tags))]
        if country:
            (values["country_id"],) = self.search("res.country", [("code", "=", country)])
        return self.create("res.partner", values)

    def edit_partner(self, partner_id: int, **values: Any) -> None:
        """Edit a partner."""
        self.write("res.partner", partner_id, values)

    def archive_partner(self, partner_id: int) -> None:
        self.write("res.partner", partner_id, {"active": False})

    def merge_partners(self, survivor: int, *sources: int) -> None:
        """Merge partners into one: the sources are deleted, what pointed to them points to the survivor."""
        with self._as_person("merge", "res.partner", survivor=survivor, sources=sources) as env:
            wizard = self._known("base.partner.merge.automatic.wizard", MergeWizard)
            wizard.merge(env, [*sources, survivor], survivor)

    def add_tag(self, name: str, *, parent: int | None = None) -> int:
        """Add a partner tag."""
        return self.create("res.partner.category", {"name": name, "parent_id": parent or False})

    def tag_partner(self, partner_id: int, tag_id: int) -> None:
        self.write("res.partner", partner_id, {"category_id": [(4, tag_id)]})

    def untag_partner(self, partner_id: int, tag_id: int) -> None:
        self.write("res.partner", partner_id, {"category_id": [(3, tag_id)]})

    # orders and invoices

    def add_order(
        self,
        partner_id: int,
        amount_untaxed: float = 0.0,
        *,
        amount_tax: float = 0.0,
        date_order: datetime | None = None,
        state: str = "sale",
        company_id: int = 1,
        currency: str | None = None,
        lines: Sequence[Mapping[str, Any]] = (),
        **values: Any,
    ) -> int:
        """Add an order of a company in any state, dated as wanted (confirming would overwrite the date).

        With ``lines`` the amounts follow from them; without, they are those given. Money is in the order's
        currency (the company's unless ``currency`` names another).
        """
        values |= {"partner_id": partner_id, "company_id": company_id, "state": state}
        if date_order is not None:
            moment = date_order.astimezone(UTC).replace(tzinfo=None) if date_order.tzinfo else date_order
            values["date_order"] = moment.replace(microsecond=0)
        if currency is not None:
            (values["currency_id"],) = self.search("res.currency", [("name", "=", currency)])
        if lines:
            values["order_line"] = [(0, 0, dict(line)) for line in lines]
        else:
            values |= {"amount_untaxed": amount_untaxed, "amount_tax": amount_tax}
        return self.create("sale.order", values)

    def confirm_order(self, order_id: int) -> None:
        """Confirm a quotation: its date becomes the present moment."""
        with self._as_person("confirm", "sale.order", id=order_id) as env:
            self._known("sale.order", SaleOrder).action_confirm(env, [order_id])

    def cancel_order(self, order_id: int) -> None:
        """Cancel an order, through the wizard where the version has one."""
        with self._as_person("cancel", "sale.order", id=order_id) as env:
            self._known("sale.order", SaleOrder).cancel(env, [order_id])

    def invoice_order(self, order_id: int, *, post: bool = True) -> int:
        """Make an invoice of all that is not invoiced yet, and post it; gives its id.

        An order without lines gets one invoice line over its amount, tied to no order line.
        """
        with self._as_person("invoice", "sale.order", id=order_id) as env:
            orders, moves = self._known("sale.order", SaleOrder), self._known("account.move", Move)
            order = orders.table.rows[order_id]
            lines = [
                {
                    "name": line.get("name", ""),
                    "product_id": line.get("product_id", False),
                    "display_type": line.get("display_type") or "product",
                    "quantity": line.get("product_uom_qty", 0.0) - line.get("qty_invoiced", 0.0),
                    "price_unit": line.get("price_unit", 0.0),
                    "discount": line.get("discount", 0.0),
                    "tax_ids": [(6, 0, list(line.get("tax_ids") or line.get("tax_id") or ()))],
                    "sale_line_ids": [(6, 0, [line["id"]])],
                    "sequence": line.get("sequence", 0),
                }
                for line in orders.lines(order)
            ] or [{"name": order["name"], "quantity": 1.0, "price_unit": order.get("amount_untaxed", 0.0)}]
            move = self._create_move(env, order, "out_invoice", lines, invoice_origin=order["name"])
            if post:
                moves.action_post(env, [move])
        return move

    def _create_move(
        self, env: Environment, like: Mapping[str, Any], move_type: str, lines: list[Any], **values: Any
    ) -> int:
        return self.model("account.move").create_records(
            env,
            [
                {
                    "move_type": move_type,
                    "partner_id": like.get("partner_invoice_id") or like.get("partner_id"),
                    "company_id": like["company_id"],
                    "currency_id": like["currency_id"],
                    "invoice_line_ids": [(0, 0, line) for line in lines],
                    **values,
                }
            ],
        )[0]

    def credit_invoice(
        self, move_id: int, *, quantity: float | None = None, post: bool = True, linked: bool = True
    ) -> int:
        """Make a credit note of an invoice, and post it; gives its id.

        ``quantity``: so much of the first line only; without it, everything. ``linked`` False types the lines
        again: then only ``reversed_entry_id`` ties the note to the invoice.
        """
        with self._as_person("credit", "account.move", id=move_id, quantity=quantity) as env:
            moves = self._known("account.move", Move)
            invoice = moves.table.rows[move_id]
            kept = [line for line in moves.lines(invoice) if line.get("display_type", "product") == "product"]
            lines = [
                {
                    "name": line.get("name", False),
                    "product_id": line.get("product_id", False),
                    "quantity": line.get("quantity", 0.0) if quantity is None else quantity,
                    "price_unit": line.get("price_unit", 0.0),
                    "discount": line.get("discount", 0.0),
                    "tax_ids": [(6, 0, list(line.get("tax_ids", ())))],
                    "sale_line_ids": [(6, 0, list(line.get("sale_line_ids", ())) if linked else [])],
                }
                for line in (kept if quantity is None else kept[:1])
            ]
            note = self._create_move(
                env,
                invoice,
                "out_refund",
                lines,
                reversed_entry_id=move_id,
                invoice_origin=invoice.get("invoice_origin", False),
                ref=f"Reversal of: {invoice.get('name')}",
            )
            if post:
                moves.action_post(env, [note])
        return note

    def pay_invoice(self, move_id: int, amount: float | None = None) -> None:
        """Register a payment over what is open, or over ``amount``."""
        with self._as_person("pay", "account.move", id=move_id, amount=amount) as env:
            self._known("account.move", Move).pay(env, move_id, amount)

    # point of sale

    def add_till(self, name: str, *, company_id: int = 1) -> int:
        """Add a shop of the point of sale with its journals; gives its id.

        Until 19 ``journal_id`` holds the entries of its closings and ``invoice_journal_id`` its invoices;
        from 20 on ``closing_journal_id`` holds the closings and ``journal_id`` the invoices.
        """
        closing, invoices = (
            self.create(
                "account.journal",
                {"name": f"{name} {kind}", "code": code, "type": "sale", "company_id": company_id},
            )
            for kind, code in (("closings", "POSC"), ("invoices", "INV"))
        )
        journals = (
            {"closing_journal_id": closing, "journal_id": invoices}
            if self.release.since(20)
            else {"journal_id": closing, "invoice_journal_id": invoices}
        )
        return self.create("pos.config", {"name": name, "company_id": company_id, **journals})

    def close_till(
        self, till: int, sales: float, refunds: float = 0.0, *, date: str | None = None
    ) -> list[int]:
        """Close a session of a shop, with what it sold and took back (company currency, untaxed); gives the
        ids of what is booked: one entry until 19, from 20 on an invoice and, after refunds, a credit note."""
        with self._as_person("close", "pos.config", id=till, sales=sales, refunds=refunds) as env:
            config = self.model("pos.config").table.rows[till]
            company = self.model("res.company").table.rows[config["company_id"]]
            like = {
                "company_id": company["id"],
                "currency_id": company["currency_id"],
                "partner_id": config.get("default_partner_id", False),
            }
            day = {"invoice_date": date} if date else {}
            if not self.release.since(20):
                line = {"name": "Sales", "price_unit": sales - refunds}
                moves = [
                    self._create_move(env, like, "entry", [line], journal_id=config["journal_id"], **day)
                ]
            else:
                (session,) = self.model("pos.session").create_records(
                    env, [{"name": f"POS/{till}", "config_id": till}]
                )
                booked = [("out_invoice", "sales", sales), ("out_refund", "refunds", refunds)]
                moves = [
                    self._create_move(
                        env,
                        like,
                        move_type,
                        [{"name": kind, "price_unit": amount}],
                        journal_id=config["closing_journal_id"],
                        **{f"pos_session_{kind}_id": session},
                        **day,
                    )
                    for move_type, kind, amount in booked
                    if amount
                ]
            self._known("account.move", Move).action_post(env, moves)
        return moves

    # consent

    def blacklist(self, email: str) -> int:
        """Put an address on the blacklist, as Odoo's screens do; gives the row's id."""
        with self._as_person("blacklist", "mail.blacklist", email=email) as env:
            return self._known("mail.blacklist", Blacklist).add(env, email)

    def unblacklist(self, email: str, reason: str = "") -> None:
        """Take an address off the blacklist, as the wizard does: the row is archived."""
        with self._as_person("unblacklist", "mail.blacklist", email=email, reason=reason) as env:
            self._known("mail.blacklist", Blacklist).remove(env, email, reason)

    def add_mailing_list(self, name: str) -> int:
        """Add a mailing list."""
        return self.create("mailing.list", {"name": name})

    def subscribe(
        self, list_id: int, email: str, *, name: str | None = None, dated: bool = True, opt_out: bool = False
    ) -> int:
        """Put an address on a mailing list; gives the subscription's id.

        ``dated`` False goes through ``list_ids``, which leaves no date; ``opt_out`` puts it there opted out.
        """
        contacts = self.search("mailing.contact", [("email_normalized", "=", email.strip().lower())])
        contact = (
            contacts[0]
            if contacts
            else self.create("mailing.contact", {"name": name or email, "email": email})
        )
        if dated:
            return self.create(
                "mailing.subscription", {"contact_id": contact, "list_id": list_id, "opt_out": opt_out}
            )
        self.write("mailing.contact", contact, {"list_ids": [(4, list_id)]})
        (subscription,) = self.search(
            "mailing.subscription", [("contact_id", "=", contact), ("list_id", "=", list_id)]
        )
        return subscription

    def opt_out(self, subscription_id: int) -> None:
        """The contact leaves the mailing list by its own link: the subscription stays, opted out."""
        self.write("mailing.subscription", subscription_id, {"opt_out": True})


def _listed(ids: int | Sequence[int]) -> list[int]:
    return [ids] if isinstance(ids, int) else list(ids)
