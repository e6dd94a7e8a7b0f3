"""The pages on which a person looks at the stand-in's data and acts in it. Nothing here is part of Odoo."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from jinja2 import Environment as Templates
from jinja2 import PackageLoader
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from mc_pipeline.sandbox.odoo.acts import Acts
from mc_pipeline.sandbox.odoo.errors import ServerError

ROWS = 50
"""Rows of a page."""

_templates = Templates(loader=PackageLoader("mc_pipeline.sandbox.odoo"), autoescape=True)
_ORDER_FIELDS = (
    "name", "date_order", "partner_id", "company_id", "state", "currency_id", "amount_untaxed", "amount_tax",
    "amount_total", "invoice_ids", "order_line",
)  # fmt: skip
_PARTNER_FACTS = (
    "id", "email_normalized", "is_company", "type", "parent_id", "commercial_partner_id", "company_id",
    "lang", "phone", "street", "street2", "zip", "city", "country_id", "industry_id", "supplier_rank",
    "message_bounce", "user_ids", "write_date",
)  # fmt: skip


@dataclass(frozen=True)
class Page:
    """Which rows of how many are shown, and the addresses of the pages beside."""

    number: int
    total: int
    path: str
    text: str

    @property
    def first(self) -> int:
        return min(self.total, (self.number - 1) * ROWS + 1)

    @property
    def last(self) -> int:
        return min(self.total, self.number * ROWS)

    @property
    def before(self) -> str:
        return self._address(self.number - 1) if self.number > 1 else ""

    @property
    def after(self) -> str:
        return self._address(self.number + 1) if self.last < self.total else ""

    def _address(self, number: int) -> str:
        return f"{self.path}?{urlencode({'search': self.text, 'page': number})}"


def routes(odoo: Acts) -> list[Route]:
    """The routes of all pages; ``/`` leads to the contacts."""
    shown = Pages(odoo)

    def get(path: str, show: Callable[[Request], Response]) -> Route:
        async def endpoint(request: Request) -> Response:
            return await run_in_threadpool(show, request)

        return Route(path, endpoint, methods=["GET"])

    return [
        Route("/", lambda request: RedirectResponse("/sandbox/partners"), methods=["GET"]),
        Route("/web", lambda request: HTMLResponse(_FORM_LINK), methods=["GET"]),
        get("/sandbox/partners", shown.partners),
        get("/sandbox/partners/{id:int}", shown.partner),
        get("/sandbox/orders", shown.orders),
        get("/sandbox/orders/{id:int}", shown.order),
        get("/sandbox/documents/{id:int}", shown.document),
        get("/sandbox/blacklist", shown.blacklist),
        get("/sandbox/requests", shown.requests),
        Route("/sandbox/partners/{id:int}/{act}", _posted(shown.act_on_partner), methods=["POST"]),
        Route("/sandbox/orders/{id:int}/{act}", _posted(shown.act_on_order), methods=["POST"]),
        Route("/sandbox/blacklist/{act}", _posted(shown.act_on_blacklist), methods=["POST"]),
    ]


# Links to Odoo's forms name the record behind the #, which no server gets to see.
_FORM_LINK = """<!doctype html>
<title>Odoo</title>
<script>
  const link = new URLSearchParams(location.hash.slice(1));
  const pages = {"res.partner": "partners", "sale.order": "orders", "account.move": "documents"};
  const page = pages[link.get("model")];
  location.replace(page ? `/sandbox/${page}/${Number(link.get("id"))}` : "/sandbox/partners");
</script>
<noscript>Without JavaScript this link leads to the <a href="/sandbox/partners">contacts</a> only.</noscript>
"""

Form = dict[str, str]


def _posted(act: Callable[[Request, Form], str]) -> Callable[[Request], Awaitable[Response]]:
    """A form's endpoint: acts, then leads to a page that says what happened.

    Forms of other sites are refused.
    """

    async def endpoint(request: Request) -> Response:
        origin = request.headers.get("origin")
        if origin and urlsplit(origin).netloc != request.headers.get("host"):
            return PlainTextResponse("This form belongs to another site.", 403)
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        back = request.url.path.rpartition("/")[0]
        try:
            said = await run_in_threadpool(act, request, form)
        except (ServerError, ValueError) as problem:
            said = f"Not done: {problem}"
        except KeyError:
            return PlainTextResponse("There is no such record.", 404)
        return RedirectResponse(f"{back}?{urlencode({'said': said})}", 303)

    return endpoint


class Pages:
    """The pages of one stand-in."""

    def __init__(self, odoo: Acts) -> None:
        self._odoo = odoo

    def _render(self, template: str, request: Request, section: str, **values: Any) -> HTMLResponse:
        content = _templates.get_template(template).render(
            version=self._odoo.release.serie,
            section=section,
            said=request.query_params.get("said", ""),
            **values,
        )
        return HTMLResponse(content)

    def _found(
        self, request: Request, model: str, fields_searched: Sequence[str], fields: Sequence[str], order: str
    ) -> tuple[list[dict[str, Any]], Page, str]:
        """The rows of a page of search results, with what was searched for."""
        text = request.query_params.get("search", "").strip()
        domain: list[Any] = ["|"] * (len(fields_searched) - 1) if text else []
        domain += [(name, "ilike", text) for name in fields_searched] if text else []
        with self._odoo.database.lock:
            ids = self._odoo.search(model, domain, order=order)
            page = self._page(request, len(ids), text)
            env = self._odoo.database.superuser()
            rows = self._odoo.model(model).read(env, ids[page.first - 1 if ids else 0 : page.last], fields)
        return rows, page, text

    def _page(self, request: Request, total: int, text: str) -> Page:
        given = request.query_params.get("page", "1")
        number = int(given) if given.isdecimal() else 1
        pages = max(1, -(-total // ROWS))
        return Page(min(max(number, 1), pages), total, request.url.path, text)

    def _tags(self, ids: Sequence[int]) -> list[dict[str, Any]]:
        tags = self._odoo.model("res.partner.category")
        env = self._odoo.database.superuser()
        return [
            {"id": id, "name": tags.display_name(env, tags.table.rows[id])} for id in ids if id in tags.table
        ]

    # looking

    def partners(self, request: Request) -> Response:
        fields = ("complete_name", "email", "company_id", "category_id", "active", "is_blacklisted")
        searched = ("complete_name", "email", "category_id")
        rows, page, text = self._found(request, "res.partner", searched, fields, "id")
        for row in rows:
            row["tags"] = [tag["name"] for tag in self._tags(row["category_id"])]
        return self._render("partners.html", request, "Contacts", rows=rows, page=page, text=text)

    def partner(self, request: Request) -> Response:
        id = request.path_params["id"]
        with self._odoo.database.lock:
            model = self._odoo.model("res.partner")
            if id not in model.table:
                return PlainTextResponse("There is no such contact.", 404)
            env = self._odoo.database.superuser()
            own = ("complete_name", "name", "email", "active", "is_blacklisted", "category_id")
            (partner,) = model.read(env, [id], [*own, *_PARTNER_FACTS])
            partner["tags"] = self._tags(partner["category_id"])
            facts = [
                (model.fields[name].describe()["string"], _readable(partner[name])) for name in _PARTNER_FACTS
            ]
            tags = self._tags(self._odoo.search("res.partner.category", order="id"))
            orders = self._orders([("partner_id", "=", id)])
            partner["notes"] = self._odoo.notes("res.partner", id)
        return self._render(
            "partner.html", request, "Contacts", partner=partner, facts=facts, tags=tags, orders=orders
        )

    def _orders(self, domain: list[Any]) -> list[dict[str, Any]]:
        if "sale.order" not in self._odoo.database.models:
            return []
        env = self._odoo.database.superuser()
        return self._odoo.model("sale.order").search_read(env, domain, _ORDER_FIELDS, limit=200)

    def orders(self, request: Request) -> Response:
        searched = ("name", "partner_id")
        rows, page, text = self._found(request, "sale.order", searched, _ORDER_FIELDS, "id desc")
        return self._render("orders.html", request, "Orders", orders=rows, page=page, text=text)

    def order(self, request: Request) -> Response:
        with self._odoo.database.lock:
            found = self._orders([("id", "=", request.path_params["id"])])
            if not found:
                return PlainTextResponse("There is no such order.", 404)
            env = self._odoo.database.superuser()
            (order,) = found
            lines = self._odoo.model("sale.order.line").read(
                env, order["order_line"], ["name", "product_uom_qty", "price_unit", "price_subtotal"]
            )
            moves: list[dict[str, Any]] = []
            if "account.move" in self._odoo.database.models:
                tied = [("id", "in", order["invoice_ids"]), ("invoice_origin", "=", order["name"])]
                fields = ["name", "move_type", "state", "payment_state", "amount_total"]
                moves = self._odoo.model("account.move").search_read(env, ["|", *tied], fields, order="id")
        return self._render("order.html", request, "Orders", order=order, lines=lines, moves=moves)

    def document(self, request: Request) -> Response:
        """Invoices and credit notes have no page of their own: lead to their order, or their customer."""
        with self._odoo.database.lock:
            found = self._odoo.search("account.move", [("id", "=", request.path_params["id"])])
            if not found:
                return PlainTextResponse("There is no such document.", 404)
            move = self._odoo.read("account.move", found[0], "name", "invoice_origin", "partner_id")
            origin = move["invoice_origin"]
            orders = self._odoo.search("sale.order", [("name", "=", origin)]) if origin else []
        page = f"orders/{orders[0]}" if orders else f"partners/{move['partner_id']}"
        said = urlencode({"said": f"{move['name']} belongs here."})
        return RedirectResponse(f"/sandbox/{page}?{said}")

    def blacklist(self, request: Request) -> Response:
        fields = ("email", "active", "write_date")
        rows, page, text = self._found(request, "mail.blacklist", ("email",), fields, "id desc")
        with self._odoo.database.lock:
            for row in rows:
                row["notes"] = self._odoo.notes("mail.blacklist", row["id"])
        return self._render("blacklist.html", request, "Blacklist", rows=rows, page=page, text=text)

    def requests(self, request: Request) -> Response:
        text = request.query_params.get("search", "").strip()
        wanted = text.casefold()
        entries = [
            entry
            for entry in reversed(self._odoo.journal.since(0))
            if wanted in f"{entry.action} {entry.path} {entry.account}".casefold()
        ]
        page = self._page(request, len(entries), text)
        rows = entries[(page.number - 1) * ROWS : page.last]
        return self._render("requests.html", request, "Requests", rows=rows, page=page, text=text)

    # acting

    def act_on_partner(self, request: Request, form: Form) -> str:
        odoo, id = self._odoo, request.path_params["id"]
        email = odoo.model("res.partner").table.rows[id].get("email_normalized") or ""
        match request.path_params["act"]:
            case "edit":
                odoo.edit_partner(id, name=form.get("name", ""), email=form.get("email") or False)
                return "Saved."
            case "archive":
                odoo.archive_partner(id)
                return "Archived."
            case "unarchive":
                odoo.edit_partner(id, active=True)
                return "Unarchived."
            case "tag":
                odoo.tag_partner(id, _number(form, "tag"))
                return "Tag added."
            case "untag":
                odoo.untag_partner(id, _number(form, "tag"))
                return "Tag removed."
            case "blacklist":
                odoo.blacklist(str(email))
                return "The address is on the blacklist."
            case "unblacklist":
                odoo.unblacklist(str(email))
                return "The address is no longer on the blacklist."
            case act:
                raise ValueError(f"{act!r} is not an action for a contact")

    def act_on_order(self, request: Request, form: Form) -> str:
        odoo, id = self._odoo, request.path_params["id"]
        match request.path_params["act"]:
            case "confirm":
                odoo.confirm_order(id)
                return "Confirmed."
            case "cancel":
                odoo.cancel_order(id)
                return "Cancelled."
            case "invoice":
                odoo.invoice_order(id)
                return "Invoiced."
            case "credit":
                quantity = form.get("quantity", "").strip().replace(",", ".")
                odoo.credit_invoice(_number(form, "move"), quantity=float(quantity) if quantity else None)
                return "Credit note posted."
            case act:
                raise ValueError(f"{act!r} is not an action for an order")

    def act_on_blacklist(self, request: Request, form: Form) -> str:
        if request.path_params["act"] == "add":
            self._odoo.blacklist(form.get("email", ""))
            return "The address is on the blacklist."
        self._odoo.unblacklist(form.get("email", ""))
        return "The address is no longer on the blacklist."


def _number(form: Form, name: str) -> int:
    try:
        return int(form[name])
    except (KeyError, ValueError):
        raise ValueError(f"{name} must be the number of a record") from None


def _readable(value: Any) -> str:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[1], str):
        return value[1]
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is False else "yes" if value is True else str(value)
