"""Opens the ledger and holds its parts together."""

from datetime import datetime
from types import TracebackType

from mc_pipeline.ledger.audience_reads import AudienceReads
from mc_pipeline.ledger.changed_addresses import ChangedAddresses
from mc_pipeline.ledger.company_records import CompanyRecords
from mc_pipeline.ledger.confirmations import Confirmations
from mc_pipeline.ledger.connections import Connections
from mc_pipeline.ledger.consent import Consent
from mc_pipeline.ledger.database import Clock, Database, database_url, utc_now
from mc_pipeline.ledger.due_in_odoo import DueInOdooRows
from mc_pipeline.ledger.erasures import Erasures
from mc_pipeline.ledger.field_definitions import FieldDefinitions
from mc_pipeline.ledger.hearings import Hearings
from mc_pipeline.ledger.identity import Identities
from mc_pipeline.ledger.inbox import Inbox
from mc_pipeline.ledger.intents import Intents
from mc_pipeline.ledger.leases import Leases
from mc_pipeline.ledger.members import Members
from mc_pipeline.ledger.migration import upgrade
from mc_pipeline.ledger.odoo_opt_outs import OdooOptOuts
from mc_pipeline.ledger.old_opt_outs import OldOptOuts
from mc_pipeline.ledger.opt_out_questions import OptOutQuestions
from mc_pipeline.ledger.opt_out_reads import OptOutReads
from mc_pipeline.ledger.partner_addresses import PartnerAddresses
from mc_pipeline.ledger.permissions import Permissions
from mc_pipeline.ledger.plans import Plans
from mc_pipeline.ledger.reads import Reads
from mc_pipeline.ledger.runs import Runs
from mc_pipeline.ledger.standing_opt_outs import StandingOptOuts
from mc_pipeline.ledger.store_intents import StoreIntents
from mc_pipeline.ledger.store_plans import StorePlans
from mc_pipeline.ledger.stores import Stores
from mc_pipeline.ledger.tombstones import TombstoneFile
from mc_pipeline.ledger.troubles import Troubles
from mc_pipeline.ledger.used_evidence import UsedEvidenceRows


class Ledger:
    """An open ledger, with its parts as attributes: ``ledger.intents`` and so on.

    Safe to use from several threads. Close it, or use it as a context manager.
    """

    def __init__(self, database: Database, tombstones: TombstoneFile | None = None) -> None:
        self._database = database
        self.intents = Intents(database)
        self.members = Members(database)
        self.audience_reads = AudienceReads(database)
        self.field_definitions = FieldDefinitions(database)
        self.changed_addresses = ChangedAddresses(database)
        self.consent = Consent(database)
        self.confirmations = Confirmations(database)
        self.permissions = Permissions(database)
        self.inbox = Inbox(database)
        self.odoo_opt_outs = OdooOptOuts(database)
        self.old_opt_outs = OldOptOuts(database)
        self.opt_out_reads = OptOutReads(database)
        self.opt_out_questions = OptOutQuestions(database)
        self.hearings = Hearings(database)
        self.due_in_odoo = DueInOdooRows(database)
        self.standing_opt_outs = StandingOptOuts(database)
        self.used_evidence = UsedEvidenceRows(database)
        self.company_records = CompanyRecords(database)
        self.partner_addresses = PartnerAddresses(database)
        self.plans = Plans(database)
        self.reads = Reads(database)
        self.leases = Leases(database)
        self.runs = Runs(database)
        self.connections = Connections(database)
        self.erasures = Erasures(database, tombstones)
        self.stores = Stores(database)
        self.store_intents = StoreIntents(database)
        self.store_plans = StorePlans(database)
        self.troubles = Troubles(database)
        self.identities = Identities(database)

    @classmethod
    def open(cls, url: str | None = None, *, clock: Clock = utc_now) -> "Ledger":
        """Open the ledger and bring its schema up to date.

        ``url`` is a database URL; without it ``MC_PIPELINE_DATABASE_URL`` counts, or else the file
        ``$DAGSTER_HOME/mc_pipeline/ledger.db``, made for its owner only. ``clock`` returns the time (UTC).
        Raises ``LedgerError`` (no place named), ``LedgerUnavailableError`` (cannot be reached or written),
        ``LedgerSchemaError`` (written by a newer mc_pipeline), ``LedgerError`` (the file of erased people
        beside it is damaged).
        """
        place = database_url(url)
        database = Database(place, clock)
        try:
            upgrade(database)
            ledger = cls(database, TombstoneFile.of(place))
            ledger.erasures.merge_beside()
        except BaseException:
            database.close()
            raise
        return ledger

    def now(self) -> datetime:
        """The present moment (UTC) by the ledger's clock."""
        return self._database.now()

    @property
    def location(self) -> str:
        """The URL of the database, without its password."""
        return self._database.location

    def close(self) -> None:
        """Give back connections to Mailchimp and close the database."""
        self.connections.close()
        self._database.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Ledger({self.location!r})"
