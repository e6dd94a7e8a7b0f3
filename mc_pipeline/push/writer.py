"""What every write of a run needs, passed as one object."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from mc_pipeline.ledger import Fence, Lease, Ledger
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.odoo.client import OdooClient

Client = TypeVar("Client", MailchimpClient, OdooClient)


@dataclass(frozen=True)
class Writer(Generic[Client]):
    """One run that writes for one company, into one of the two systems.

    Attributes:
        client: speaks to the system.
        ledger: records each intent before it is sent, and its outcome after it.
        lease: the company's, checked before each request.
        run_id: the run that the intents are recorded for.
        workers: how many requests go at a time; to Odoo always one.
    """

    client: Client
    ledger: Ledger
    lease: Lease
    run_id: str
    workers: int = 4

    @property
    def company(self) -> str:
        """The company's key in the settings."""
        return self.lease.company

    @property
    def fence(self) -> Fence:
        """The fencing number of the lease: the ledger refuses a write under a stale one."""
        return self.lease.fence


MailchimpWriter = Writer[MailchimpClient]
OdooWriter = Writer[OdooClient]
