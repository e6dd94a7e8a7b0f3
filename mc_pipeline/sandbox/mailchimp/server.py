"""The stand-in Mailchimp as one object: set it up, run it, act as a person in it, look at it."""

from __future__ import annotations

import pickle
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from starlette.applications import Starlette

from mc_pipeline.sandbox.faults import Faults, Latency
from mc_pipeline.sandbox.journal import Journal
from mc_pipeline.sandbox.mailchimp import members, merge_fields, segments, stores
from mc_pipeline.sandbox.mailchimp.api import Api
from mc_pipeline.sandbox.mailchimp.app import create_app
from mc_pipeline.sandbox.mailchimp.people import People
from mc_pipeline.sandbox.mailchimp.state import (
    STATUSES,
    Actor,
    Audience,
    Credential,
    Mail,
    MailchimpState,
    Member,
    Store,
    subscriber_hash,
)
from mc_pipeline.sandbox.mailchimp.times import SandboxClock
from mc_pipeline.sandbox.mailchimp.webhooks import encoded, signature
from mc_pipeline.sandbox.serving import serve

DEFAULT_KEY = "0123456789abcdef0123456789abcdef-us1"


class SandboxMailchimp(People):
    """Accounts with audiences, over HTTP within :meth:`serve`, in Python always.

    ``accounts`` maps an account's name to its API keys; all keys of one account belong to one user unless
    :meth:`add_account` says otherwise. Everything is in memory; ``clock`` may be one that tests move on.
    The people's acts (:class:`~mc_pipeline.sandbox.mailchimp.people.People`) are methods of this object.
    """

    def __init__(
        self,
        accounts: Mapping[str, str | Sequence[str]] | None = None,
        *,
        clock: Callable[[], datetime] | None = None,
        keep_responses: bool = False,
    ) -> None:
        clock = clock or SandboxClock()
        self.state = MailchimpState(clock=clock, journal=Journal(clock, keep_responses))
        self.faults = Faults()
        self.latency = Latency()
        self.url = ""
        self._api = Api(self.state)
        super().__init__(self.state)
        for account, keys in (accounts or {"main": DEFAULT_KEY}).items():
            for key in [keys] if isinstance(keys, str) else keys:
                self.add_account(key, account=account)

    # --- setting up ---------------------------------------------------------------------------------

    def add_account(self, api_key: str, *, account: str = "main", user: str | None = None) -> None:
        """Give an account an API key (also good as a bearer token). Ten connections are shared by the keys
        of one ``user``, who is the account's owner unless named."""
        self.state.credentials[api_key] = Credential(account, user or f"owner of {account}")

    def add_audience(
        self,
        list_id: str,
        name: str,
        *,
        account: str = "main",
        double_optin: bool = False,
        marketing_permissions: bool = False,
        welcome_automation: bool = False,
        tag_automation: bool = False,
    ) -> Audience:
        """Make an audience with Mailchimp's default merge fields (FNAME, LNAME, ADDRESS, PHONE, BIRTHDAY)."""
        if list_id in self.state.audiences:
            raise ValueError(f"there is an audience {list_id} already")
        audience = Audience(
            id=list_id,
            name=name,
            account=account,
            web_id=self.state.next_number(),
            created_at=self.state.now(),
            double_optin=double_optin,
            marketing_permissions=marketing_permissions,
            welcome_automation=welcome_automation,
            tag_automation=tag_automation,
        )
        merge_fields.add_default_fields(audience)
        if marketing_permissions:
            audience.permissions = {self.state.next_id(): "Email", self.state.next_id(): "Direct Mail"}
        self.state.audiences[list_id] = audience
        return audience

    def add_member(
        self,
        list_id: str,
        email: str,
        status: str = "subscribed",
        *,
        merge_fields: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        language: str = "",
        last_changed: datetime | None = None,
        opted_out_by: Actor = "person",
        source: str = "Import",
    ) -> Member:
        """Put somebody on a list who was there before the story begins: no mails, no webhooks, no journal.

        Of an ``unsubscribed`` member ``opted_out_by`` says who did it.
        """
        if status not in STATUSES:
            raise ValueError(f"status {status!r} is unknown; use one of {', '.join(STATUSES)}")
        audience = self.state.audiences[list_id]
        with self.state.lock:
            if audience.find(email) is not None:
                raise ValueError(f"audience {list_id} has this address already")
            member = members.add_member(self.state, audience, email, status, source=source)
            member.merge_fields.update(merge_fields or {})
            member.language = language
            for name in tags:
                segments.tag_member(self.state, audience, member, name, is_syncing=True)
            at = int(last_changed.timestamp()) if last_changed else self.state.now()
            if status == "unsubscribed":
                member.opted_out_by, member.opted_out_at = opted_out_by, at
                member.unsubscribe_reason = (
                    "None given" if opted_out_by == "person" else members.REASON_OF_ADMIN
                )
            if status == "subscribed":
                member.timestamp_opt = at
            member.created_at = min(member.created_at, at)
            audience.touch(member, at)
        return member

    def refuse_signups(self, email: str) -> None:
        """From now on this address has "signed up to a lot of lists very recently"."""
        self.state.refused_signups.add(email.lower())

    def allow_signups(self, email: str) -> None:
        """Take back :meth:`refuse_signups`."""
        self.state.refused_signups.discard(email.lower())

    def take_for_fake(self, email: str) -> None:
        """From now on this address "looks fake or invalid"."""
        self.state.fake_addresses.add(email.lower())

    def list_nowhere(self, email: str) -> None:
        """From now on this address "is already a list member", and no list shows it."""
        self.state.unlisted.add(email.lower())

    def list_again(self, email: str) -> None:
        """Take back :meth:`list_nowhere`."""
        self.state.unlisted.discard(email.lower())

    def limit_contacts(self, limit: int | None, *, account: str = "main") -> None:
        """From now on the account's plan takes so many contacts; None: as many as there are."""
        self.state.contact_limits.pop(account, None)
        if limit is not None:
            self.state.contact_limits[account] = limit

    def put_under_review(self, email: str) -> None:
        """From now on this address is under compliance review: the API subscribes it in no audience."""
        self.state.under_review.add(email.lower())

    # --- running ------------------------------------------------------------------------------------

    @property
    def app(self) -> Starlette:
        """The ASGI app, sharing this object's state, faults and latency."""
        return create_app(self.state, faults=self.faults, latency=self.latency)

    @contextmanager
    def serve(self, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[SandboxMailchimp]:
        """Answer over HTTP; ``url`` is the server's root, ``api_url`` the API's."""
        with serve(self.app, host=host, port=port, date_header=False) as url:
            self.url = url
            try:
                yield self
            finally:
                self.faults.clear()

    @property
    def api_url(self) -> str:
        """The base of the API: what a client takes in place of ``https://us1.api.mailchimp.com/3.0``."""
        return f"{self.url}/3.0"

    @property
    def journal(self) -> Journal:
        """Requests, operations of batches, and what people did."""
        return self.state.journal

    @property
    def mails(self) -> list[Mail]:
        """Mails that were sent to contacts, oldest first."""
        return self.state.mails

    def advance(self, step: timedelta) -> None:
        """Let time pass; works with the sandbox's own clock only."""
        if not isinstance(self.state.clock, SandboxClock):
            raise TypeError("time passes by the clock that was given to the sandbox")
        self.state.clock.advance(step)

    # --- batches ------------------------------------------------------------------------------------

    def pause_batches(self) -> None:
        """Batches wait where they are until :meth:`resume_batches` or :meth:`run_batches`."""
        self.state.batches_paused = True

    def resume_batches(self) -> None:
        """Batches go on in the background of a served sandbox."""
        self.state.batches_paused = False

    def run_batches(self) -> None:
        """Carry out every batch that waits, now."""
        while self._api.run_batches(self.url or "http://sandbox.invalid"):
            pass

    def step_batches(self, operations: int) -> bool:
        """Take the next batch one stage on, or through that many operations; False when none waits."""
        return self._api.run_batches(self.url or "http://sandbox.invalid", at_most=operations)

    def lose_batch_results(self, batch_id: str) -> None:
        """The batch stays finished, its results are gone: the link in it is empty."""
        self.state.batches[batch_id].results_lost = True

    # --- webhooks -----------------------------------------------------------------------------------

    def deliver_webhooks(
        self, *, timeout: float = 10, times: int = 1, again_later: bool = False
    ) -> list[int]:
        """Post every waiting webhook, signed, and give the status codes (0 when nobody answered).

        Each is posted ``times`` times. Mailchimp repeats for a while what was not answered with 200:
        ``again_later`` keeps those for the next call; otherwise they are lost.
        """
        with self.state.lock:
            waiting = list(self.state.webhook_deliveries)
            self.state.webhook_deliveries.clear()
        statuses = []
        for delivery in waiting:
            posted = [_post_webhook(delivery, timeout) for _ in range(times)]
            statuses += posted
            if again_later and 200 not in posted:
                with self.state.lock:
                    self.state.webhook_deliveries.append(delivery)
        return statuses

    def forget_signing_secrets(self, list_id: str) -> None:
        """Let the webhooks of an audience be older than signatures: their deliveries carry none."""
        for webhook in self.state.audiences[list_id].webhooks.values():
            webhook.signing_secret = ""

    # --- what people do in a store ------------------------------------------------------------------

    def delete_order(self, store_id: str, order_id: str) -> None:
        """Somebody deletes an order by hand."""
        with self.state.lock:
            store = self.state.stores[store_id]
            stores.delete_order(store, store.orders[order_id])

    def delete_customers(self, store_id: str, email: str) -> None:
        """Somebody deletes the customers with an address by hand; their orders go with them."""
        with self.state.lock:
            store = self.state.stores[store_id]
            for customer_id in list(store.customers_by_email[email.lower()]):
                stores.delete_customer(store, store.customers[customer_id])

    def delete_store(self, store_id: str) -> None:
        """Somebody deletes a store by hand, with all that it holds."""
        with self.state.lock:
            stores.delete_store(self.state, self.state.stores[store_id])

    def edit_order(self, store_id: str, order_id: str, **details: Any) -> None:
        """Another program writes an order: its totals or dates, by their names in the API."""
        with self.state.lock:
            store = self.state.stores[store_id]
            stores.change_order(self.state, store, store.orders[order_id], details)

    # --- looking ------------------------------------------------------------------------------------

    def audience(self, list_id: str) -> Audience:
        """An audience; KeyError when there is none."""
        return self.state.audiences[list_id]

    def member(self, list_id: str, email: str) -> Member | None:
        """A member in any status, archived too; None for somebody unknown or erased."""
        return self.state.audiences[list_id].members.get(subscriber_hash(email))

    def status(self, list_id: str, email: str) -> str | None:
        """A member's status; None for somebody unknown or erased."""
        member = self.member(list_id, email)
        return None if member is None else member.status

    def tags(self, list_id: str, email: str) -> list[str]:
        """A member's tags."""
        audience, member = self.state.audiences[list_id], self.member(list_id, email)
        return [] if member is None else segments.tag_names(audience, member)

    def statuses(self, list_id: str) -> dict[str, str]:
        """Every address of an audience with its status."""
        members_by_id = self.state.audiences[list_id].members
        return {member.email_address: member.status for member in members_by_id.values()}

    def store(self, store_id: str) -> Store:
        """A store; KeyError when there is none."""
        return self.state.stores[store_id]

    # --- keeping ------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """What the sandbox holds, journal and faults left out."""
        with self.state.lock:
            return pickle.dumps({name: getattr(self.state, name) for name in _KEPT})

    def restore(self, snapshot: bytes) -> None:
        """Go back to a snapshot made by this program. The journal goes on."""
        with self.state.lock:
            for name, value in pickle.loads(snapshot).items():
                setattr(self.state, name, value)


_KEPT = (
    "credentials",
    "audiences",
    "stores",
    "batches",
    "mails",
    "webhook_deliveries",
    "asks_webhooks_first",
    "refused_signups",
    "fake_addresses",
    "under_review",
    "unlisted",
    "contact_limits",
    "numbers",
)


def _post_webhook(delivery: Mapping[str, Any], timeout: float) -> int:
    body = encoded(delivery["form"])
    headers = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "MailChimp"}
    if delivery["signing_secret"]:
        headers["X-Mailchimp-Signature"] = signature(delivery["signing_secret"], int(time.time()), body)
    request = urllib.request.Request(delivery["url"], data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
