"""What the work of a run needs of the systems: both clients, the ledger, the settings, a clock."""

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from mc_pipeline.settings import CompanySettings, Settings

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.ledger import Ledger
    from mc_pipeline.mailchimp.client import MailchimpClient
    from mc_pipeline.odoo.client import OdooClient


class ErasedPeople(Protocol):
    """Who was erased: left out of everything that is read."""

    def without(self, rows: "pd.DataFrame") -> "pd.DataFrame": ...
    def split(self, rows: "pd.DataFrame") -> "tuple[pd.DataFrame, pd.DataFrame]": ...
    def includes(self, email: str) -> bool: ...
    def pseudonym_of(self, email: str) -> str | None: ...


class Systems(Protocol):
    """The systems as one run sees them."""

    @property
    def settings(self) -> Settings: ...
    @property
    def ledger(self) -> "Ledger": ...
    @property
    def erased(self) -> ErasedPeople: ...

    def now(self) -> datetime: ...
    def erased_by_now(self) -> ErasedPeople: ...
    def odoo(self, company: CompanySettings) -> "OdooClient": ...
    def mailchimp(self, company: CompanySettings, *, impatient: bool = False) -> "MailchimpClient": ...
