"""The two systems and the ledger as one run sees them: opened on first use, closed at its end."""

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from mc_pipeline.ledger import Ledger
from mc_pipeline.mailchimp.connections import ConnectionSlots
from mc_pipeline.mailchimp.retry import RetryPolicy as MailchimpRetryPolicy
from mc_pipeline.odoo.errors import OdooError
from mc_pipeline.settings import CompanySettings, Settings
from mc_pipeline.sync.erased_people import ErasedPeople
from mc_pipeline.sync.errors import SyncError
from mc_pipeline.sync.known_ledger import mark_tables, note_tables_of_before, why_not_this_ledger

if TYPE_CHECKING:
    from mc_pipeline.mailchimp.client import MailchimpClient
    from mc_pipeline.mailchimp.lists import Audience
    from mc_pipeline.odoo.client import OdooClient
    from mc_pipeline.odoo.client import RetryPolicy as OdooRetryPolicy


LEASE_TIME_TO_LIVE = timedelta(minutes=3)
"""So long others wait for the lease of a run that was killed."""

_RUNS_TAKE_AT_MOST = timedelta(days=1)


def utc_now() -> datetime:
    """Return the present moment, in UTC."""
    return datetime.now(UTC)


class Systems:
    """Gives assets, jobs and commands the same clients, made from the settings.

    Not safe for use by several runs at a time; every run makes its own. ``odoo_retry`` and
    ``mailchimp_retry`` are for callers that should fail fast.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = utc_now,
        lease_time_to_live: timedelta | None = None,
        odoo_retry: "OdooRetryPolicy | None" = None,
        mailchimp_retry: MailchimpRetryPolicy | None = None,
        impatient_seconds: float = 30.0,
    ) -> None:
        self.settings = settings
        self.odoo_retry = odoo_retry
        self.impatient_seconds = impatient_seconds
        self.mailchimp_retry = mailchimp_retry
        self.lease_time_to_live = lease_time_to_live or LEASE_TIME_TO_LIVE
        self.now = clock
        self.owner = f"{socket.gethostname()}:{os.getpid()}"
        self._odoo: dict[str, OdooClient] = {}
        self._odoo_refusals: dict[str, OdooError] = {}
        self._mailchimp: dict[tuple[str, bool], MailchimpClient] = {}
        self._slots: dict[str, ConnectionSlots | None] = {}
        self._audiences: dict[str, Audience] = {}
        self._erased: tuple[object, ErasedPeople] | None = None
        self._opened_at = self.now()
        self._looked_for_traces = False

    def company(self, key: str) -> CompanySettings:
        """Return a company's settings.

        Raises:
            SyncError: companies.yaml no longer has the company (a run of an old partition).
        """
        try:
            return self.settings.companies[key]
        except KeyError:
            known = ", ".join(self.settings.companies)
            raise SyncError(
                f"companies.yaml has no company {key!r} (it has {known}). The partition is from an earlier "
                "version of the file: add the company again, or run an existing one.",
                allow_retries=False,
            ) from None

    @cached_property
    def ledger(self) -> Ledger:
        opened = Ledger.open(clock=self.now)
        note_tables_of_before(opened)
        return opened

    @property
    def erased(self) -> ErasedPeople:
        """Who was erased until this moment: a person may be erased while a run is in progress."""
        return self.erased_by_now()

    def erased_by_now(self) -> ErasedPeople:
        """Who was erased until this moment; the same object until somebody else is erased."""
        version = self.ledger.erasures.version()
        if self._erased is None or self._erased[0] != version:
            self._erased = (version, ErasedPeople.of(self.ledger))
        return self._erased[1]

    def why_not_this_ledger(self) -> str:
        """Say how the ledger differs from the one of the stored tables; empty: it does not."""
        return why_not_this_ledger(self.ledger)

    def mark_tables(self) -> None:
        """Note beside the tables, after one was stored, which ledger they belong to."""
        mark_tables(self.ledger)

    def forget_again(self) -> None:
        """Take out of the ledger what was written into it about people who were erased meanwhile.

        A step may hold rows of a person in memory who is erased before it records them, and the erasure
        waits for no run. Each step calls this at its end: by then it has recorded all, and whatever it loads
        later is without the person. What a run recorded that died is looked for once by each run of the next
        day.
        """
        since = self._opened_at if self._looked_for_traces else self._opened_at - _RUNS_TAKE_AT_MOST
        if self.ledger.erasures.is_any_due(since):
            self.ledger.erasures.forget_again(self.erased_by_now().pseudonym_of)
        self._looked_for_traces = True

    def odoo(self, company: CompanySettings) -> "OdooClient":
        """Connect to Odoo as the company sees it: its own and the shared records, nothing else."""
        if company.key not in self._odoo:
            from mc_pipeline.odoo.client import RetryPolicy, connect

            # Asked once: after a few refused logins Odoo locks out the machine, and waits add up.
            if company.key in self._odoo_refusals:
                raise self._odoo_refusals[company.key]
            try:
                self._odoo[company.key] = connect(
                    self.settings.odoo, [company.odoo_company_id], retry=self.odoo_retry or RetryPolicy()
                )
            except OdooError as error:
                self._odoo_refusals[company.key] = error
                raise
        return self._odoo[company.key]

    def mailchimp(self, company: CompanySettings, *, impatient: bool = False) -> "MailchimpClient":
        """Return the client of the company's Mailchimp user; its connections are shared by all processes.

        ``impatient``: one that gives up soon; for opt-outs, where the next audience waits.
        """
        account = self.settings.mailchimp[company.mailchimp]
        key = (company.mailchimp, impatient)
        if key not in self._mailchimp:
            from mc_pipeline.mailchimp.client import MailchimpClient

            retry, timeout = self.mailchimp_retry, account.timeout_seconds
            if impatient:
                retry = retry or MailchimpRetryPolicy(attempts=3, total_seconds=30, longest_wait_seconds=8)
                timeout = min(timeout, self.impatient_seconds)
            if company.mailchimp not in self._slots:
                self._slots[company.mailchimp] = self.connection_slots(
                    company.mailchimp, account.max_connections
                )
            self._mailchimp[key] = MailchimpClient(
                company.mailchimp,
                account.api_key.get_secret_value(),
                base_url=account.base_url,
                max_connections=account.max_connections,
                timeout=(10, timeout),
                connections=self._slots[company.mailchimp],
                retry=retry,
            )
        return self._mailchimp[key]

    def connection_slots(self, account: str, maximum: int) -> ConnectionSlots | None:
        """Return the connections of a Mailchimp user that the ledger shares out among all processes."""
        return self.ledger.connections.slots(account, maximum, self.owner)

    def audience(self, company: CompanySettings, list_id: str) -> "Audience":
        """Return what Mailchimp says of an audience; asked once a run."""
        if list_id not in self._audiences:
            from mc_pipeline.mailchimp.lists import get_audience

            self._audiences[list_id] = get_audience(self.mailchimp(company), list_id)
        return self._audiences[list_id]

    def close(self) -> None:
        """Close every connection."""
        for client in (*self._odoo.values(), *self._mailchimp.values()):
            client.close()
        if "ledger" in self.__dict__:
            self.ledger.close()
