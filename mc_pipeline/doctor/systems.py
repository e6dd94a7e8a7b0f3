"""The systems as a checkup sees them: the pipeline's own clients, with less patience."""

from typing import TYPE_CHECKING

from mc_pipeline.ledger import LedgerError
from mc_pipeline.ledger.connections import SlotTimes
from mc_pipeline.mailchimp.connections import ConnectionSlots
from mc_pipeline.mailchimp.retry import RetryPolicy as MailchimpRetryPolicy
from mc_pipeline.odoo.client import OdooClient, RetryPolicy, connect
from mc_pipeline.settings import CompanySettings, Settings
from mc_pipeline.sync.systems import Systems

if TYPE_CHECKING:
    from mc_pipeline.mailchimp.lists import ConnectedStore

LONGEST_ANSWER_SECONDS = 30.0
LONGEST_WAIT_FOR_A_CONNECTION_SECONDS = 30.0
_ATTEMPTS = 2
_PAUSE_SECONDS = 0.5


class CheckupSystems(Systems):
    """Clients that give up after seconds, and that work without a ledger, which may be what is broken.

    ``count_people``: count who gets into which audience however long it takes.
    """

    def __init__(self, settings: Settings, *, count_people: bool = False) -> None:
        odoo = settings.odoo.model_copy(
            update={"timeout_seconds": min(settings.odoo.timeout_seconds, LONGEST_ANSWER_SECONDS)}
        )
        accounts = {
            key: account.model_copy(
                update={"timeout_seconds": min(account.timeout_seconds, LONGEST_ANSWER_SECONDS)}
            )
            for key, account in settings.mailchimp.items()
        }
        super().__init__(
            settings.model_copy(update={"odoo": odoo, "mailchimp": accounts}),
            odoo_retry=RetryPolicy(attempts=_ATTEMPTS, first_wait_seconds=_PAUSE_SECONDS),
            mailchimp_retry=MailchimpRetryPolicy(
                attempts=_ATTEMPTS,
                total_seconds=2 * LONGEST_ANSWER_SECONDS,
                first_wait_seconds=_PAUSE_SECONDS,
                longest_wait_seconds=5,
            ),
        )
        self.count_people = count_people
        self._odoo_user: OdooClient | None = None
        self._stores: dict[str, list[ConnectedStore]] = {}

    def odoo_user(self) -> OdooClient:
        """Log in to Odoo without asking for any company, so that a wrong one is reported on its own."""
        if self._odoo_user is None:
            assert self.odoo_retry is not None
            self._odoo_user = connect(self.settings.odoo, (), retry=self.odoo_retry)
        return self._odoo_user

    def stores(self, company: CompanySettings) -> "list[ConnectedStore]":
        """Return the stores of a company's Mailchimp account; asked once."""
        if company.mailchimp not in self._stores:
            from mc_pipeline.mailchimp.lists import connected_stores

            self._stores[company.mailchimp] = connected_stores(self.mailchimp(company))
        return self._stores[company.mailchimp]

    def connection_slots(self, account: str, maximum: int) -> ConnectionSlots | None:
        """Share connections with running syncs, and wait a little for one; without a ledger take our own."""
        try:
            times = SlotTimes(wait=LONGEST_WAIT_FOR_A_CONNECTION_SECONDS)
            return self.ledger.connections.slots(account, maximum, self.owner, times=times)
        except LedgerError:
            return None

    def close(self) -> None:
        """Close every connection."""
        if self._odoo_user is not None:
            self._odoo_user.close()
        super().close()
