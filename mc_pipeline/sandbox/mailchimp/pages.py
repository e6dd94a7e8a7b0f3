"""Pages for people: look at audiences and members, act as the person or an administrator.

They show what the state holds; what an act does is said in :mod:`mc_pipeline.sandbox.mailchimp.people`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from mc_pipeline.sandbox.mailchimp.people import ActRefusedError, People
from mc_pipeline.sandbox.mailchimp.segments import tag_names
from mc_pipeline.sandbox.mailchimp.state import STATUSES, Audience, MailchimpState, Member
from mc_pipeline.sandbox.mailchimp.times import written

PAGE_SIZE = 50

PERSON_ACTIONS = (
    ("unsubscribe", "Unsubscribe"),
    ("sign-up", "Sign up again through the form"),
    ("confirm", "Confirm the sign-up"),
    ("complain", "Mark as spam"),
    ("bounce-hard", "Address bounces for good"),
)
ADMIN_ACTIONS = (
    ("unsubscribe-by-admin", "Unsubscribe"),
    ("archive", "Archive"),
    ("delete-permanently", "Delete permanently"),
)


@dataclass(frozen=True)
class _Page:
    items: Sequence[Any]
    number: int
    total: int

    @property
    def first(self) -> int:
        return (self.number - 1) * PAGE_SIZE + 1 if self.total else 0

    @property
    def last(self) -> int:
        return (self.number - 1) * PAGE_SIZE + len(self.items)


def page_routes(state: MailchimpState) -> list[Route]:
    """The pages' routes."""
    pages = _Pages(state)
    member = "/audiences/{list_id}/members/{subscriber_hash}"
    return [
        Route("/", pages.audiences),
        Route("/audiences/{list_id}", pages.audience),
        Route("/audiences/{list_id}/sign-up", pages.sign_up, methods=["POST"]),
        Route(member, pages.member),
        Route(member + "/{action}", pages.act, methods=["POST"]),
        Route("/stores", pages.stores),
        Route("/stores/{store_id}", pages.store),
        Route("/mails", pages.mails),
        Route("/journal", pages.journal),
    ]


class _Pages:
    def __init__(self, state: MailchimpState) -> None:
        self._state = state
        self._people = People(state)
        self._templates = Environment(
            loader=PackageLoader("mc_pipeline.sandbox.mailchimp"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
        )
        self._templates.globals.update(tag_names=tag_names, written=written)

    async def audiences(self, request: Request) -> Response:
        return self._show("audiences.html", audiences=self._state.audiences.values(), statuses=STATUSES)

    async def audience(self, request: Request) -> Response:
        audience = self._state.audiences.get(request.path_params["list_id"])
        if audience is None:
            return self._missing("There is no such audience.")
        return self._audience(request, audience)

    def _audience(self, request: Request, audience: Audience, message: str = "") -> Response:
        status, search = request.query_params.get("status", ""), request.query_params.get("search", "")
        found = self._found(audience, status, search.strip().lower())
        return self._show(
            "audience.html",
            400 if message else 200,
            audience=audience,
            statuses=STATUSES,
            status=status,
            search=search,
            page=_page(request, found),
            query=urlencode({"status": status, "search": search}) + "&",
            message=message,
        )

    def _found(self, audience: Audience, status: str, search: str) -> list[Member]:
        with self._state.lock:
            return sorted(
                (
                    member
                    for member in audience.in_statuses([status] if status in STATUSES else STATUSES)
                    if not search or search in _searched(member)
                ),
                key=lambda member: member.email_address.lower(),
            )

    async def sign_up(self, request: Request) -> Response:
        list_id = request.path_params["list_id"]
        audience = self._state.audiences.get(list_id)
        if audience is None:
            return self._missing("There is no such audience.")
        try:
            self._people.sign_up(list_id, (await _form(request)).get("email", "").strip())
        except ActRefusedError as refusal:
            return self._audience(request, audience, str(refusal))
        return RedirectResponse(f"/audiences/{quote(list_id)}", 303)

    async def member(self, request: Request) -> Response:
        found = self._member(request)
        return self._missing("There is no such member.") if found is None else self._show_member(*found)

    async def act(self, request: Request) -> Response:
        found = self._member(request)
        if found is None:
            return self._missing("There is no such member.")
        audience, member = found
        form = await _form(request)
        list_id, email = audience.id, member.email_address
        acts: dict[str, Callable[[], None]] = {
            "unsubscribe": lambda: self._people.unsubscribe(list_id, email),
            "sign-up": lambda: self._people.sign_up(list_id, email),
            "confirm": lambda: self._people.confirm(list_id, email),
            "complain": lambda: self._people.complain(list_id, email),
            "bounce-hard": lambda: self._people.bounce_hard(list_id, email),
            "unsubscribe-by-admin": lambda: self._people.unsubscribe_by_admin(list_id, email),
            "archive": lambda: self._people.archive(list_id, email),
            "delete-permanently": lambda: self._people.delete_permanently(list_id, email),
            "edit-field": lambda: self._people.edit_field(
                list_id, email, form.get("tag", ""), form.get("value", "")
            ),
            "add-tag": lambda: self._people.add_tag(list_id, email, form.get("tag", "")),
        }
        act = acts.get(request.path_params["action"])
        if act is None:
            return self._missing("There is no such action.")
        try:
            act()
        except ActRefusedError as refusal:
            return self._show_member(audience, member, str(refusal))
        if member.id not in audience.members:
            return RedirectResponse(f"/audiences/{quote(list_id)}", 303)
        return RedirectResponse(f"/audiences/{quote(list_id)}/members/{member.id}", 303)

    def _member(self, request: Request) -> tuple[Audience, Member] | None:
        audience = self._state.audiences.get(request.path_params["list_id"])
        member = audience.members.get(request.path_params["subscriber_hash"]) if audience else None
        return None if audience is None or member is None else (audience, member)

    def _show_member(self, audience: Audience, member: Member, message: str = "") -> Response:
        email = member.email_address.lower()
        with self._state.lock:
            orders = [
                (store, store.orders[order_id])
                for store in self._state.stores_of(audience)
                for customer_id in sorted(store.customers_by_email.get(email, ()))
                for order_id in sorted(store.customers[customer_id].orders)
            ]
            mails = [
                mail
                for mail in self._state.mails
                if mail.list_id == audience.id and mail.email.lower() == email
            ]
            return self._show(
                "member.html",
                400 if message else 200,
                audience=audience,
                member=member,
                path=f"/audiences/{quote(audience.id)}/members/{member.id}",
                person_actions=PERSON_ACTIONS,
                admin_actions=ADMIN_ACTIONS,
                orders=orders,
                mails=mails,
                message=message,
            )

    async def stores(self, request: Request) -> Response:
        return self._show("stores.html", stores=self._state.stores.values())

    async def store(self, request: Request) -> Response:
        store = self._state.stores.get(request.path_params["store_id"])
        if store is None:
            return self._missing("There is no such store.")
        return self._show("store.html", store=store, page=_page(request, list(store.orders.values())))

    async def mails(self, request: Request) -> Response:
        return self._show("mails.html", page=_page(request, self._state.mails[::-1]))

    async def journal(self, request: Request) -> Response:
        only = request.query_params.get("only", "")
        journal = self._state.journal
        entries = {"writes": lambda: journal.writes, "people": lambda: journal.acts}.get(
            only, lambda: journal.since(0)
        )()
        query = urlencode({"only": only}) + "&"
        return self._show("journal.html", page=_page(request, entries[::-1]), only=only, query=query)

    def _show(self, template: str, code: int = 200, **values: Any) -> Response:
        values.setdefault("message", "")
        with self._state.lock:
            return HTMLResponse(self._templates.get_template(template).render(values), code)

    def _missing(self, what: str) -> Response:
        return self._show("missing.html", 404, what=what)


def _page(request: Request, found: Sequence[Any]) -> _Page:
    asked = request.query_params.get("page", "1")
    number = max(1, int(asked)) if asked.isdecimal() else 1
    start = (number - 1) * PAGE_SIZE
    return _Page(found[start : start + PAGE_SIZE], number, len(found))


def _searched(member: Member) -> str:
    names = (str(member.merge_fields.get(tag, "")) for tag in ("FNAME", "LNAME"))
    return " ".join([member.email_address, *names]).lower()


async def _form(request: Request) -> dict[str, str]:
    sent = parse_qs((await request.body()).decode(), keep_blank_values=True)
    return {name: values[-1] for name, values in sent.items()}
