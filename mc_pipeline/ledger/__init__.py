"""The ledger: what was sent to Mailchimp, what came back, who opted out when, who may write now.

Tables between assets are pictures of the two systems and can be read again at any time; the ledger
is what cannot be read again. It lives in SQLite under ``DAGSTER_HOME`` (one machine) or in PostgreSQL
(``MC_PIPELINE_DATABASE_URL``, many machines), and is opened with ``Ledger.open()``.

=================  ==============================================================================
``intents``        every write to Mailchimp, committed before it is sent, and its outcome after it;
                   what has no outcome is resolved by reading back, first thing in the next run
``members``        our record of each member of an audience: what we sent and what Mailchimp made of
                   it, whether we created or archived it, what it last looked like, why it was rejected
``consent``        opt-outs, bounces, complaints, subscriptions: events with origin and time, append-only
``confirmations``  which addresses we asked to confirm
``permissions``    marketing permissions (GDPR): given by us, seen, taken back
``inbox``          what webhooks delivered, until it was taken into the history
``opt_out_reads``  up to when each audience was read for opt-outs
``plans``          the plans that were shown, who approved which and why, which audiences are opened
``reads``          how many rows each complete read had, to notice a read that lost some
``leases``         one writer per company: owner, expiry, fencing number checked at each write
``runs``           a heartbeat of each run, from its start to its exit: who is alive
``stores``         the stores, and what each holds: products, customers, orders with lines and rates
``store_intents``  every write to a store, like ``intents``
``troubles``       what is broken, waits or was not looked at, by step, and since when
``identities``     which ledger this is, and how far it has come: whether it is the one of the stored tables
``connections``    how many connections to Mailchimp all processes hold together
=================  ==============================================================================

Three promises hold for all of them:

* Times are timezone-aware UTC on the way in (a naive one is refused) and on the way out.
* Addresses are keys in lower case. They are stored in full, and masked in every message.
* A write is one transaction. Writes of a company (intents and outcomes) name the fencing number of
  the lease they were made under, and are refused with ``LeaseLostError`` when it is stale.

The schema is in ``schema.py``; a change of it is a new file in ``migrations/versions``, run when a
ledger is opened. What does not belong here: what to do about a row (``mc_pipeline.domain``) and
how to send it (``mc_pipeline.mailchimp``).
"""

from mc_pipeline.ledger.connections import LedgerConnectionSlots
from mc_pipeline.ledger.consent import ConsentEvent
from mc_pipeline.ledger.errors import (
    ConnectionSlotsBusyError,
    IntentError,
    LeaseHeldError,
    LeaseLostError,
    LedgerError,
    LedgerSchemaError,
    LedgerUnavailableError,
    ObservationError,
    PlanError,
)
from mc_pipeline.ledger.inbox import InboxDelivery
from mc_pipeline.ledger.intents import Intent, IntentId, IntentRecord, OpenIntent, Outcome
from mc_pipeline.ledger.leases import Fence, Lease
from mc_pipeline.ledger.ledger import Ledger
from mc_pipeline.ledger.members import ObservationSummary
from mc_pipeline.ledger.observing import Finding, StatusChange
from mc_pipeline.ledger.plans import Approval, PlanRecord
from mc_pipeline.ledger.reads import Observation
from mc_pipeline.ledger.runs import RunBeat
from mc_pipeline.ledger.store_intents import AboutOrder, OpenStoreIntent, StoreIntent
from mc_pipeline.ledger.store_records import StoreRecord
from mc_pipeline.ledger.stores import StoreState
from mc_pipeline.ledger.troubles import OpenTrouble, Trouble, TroubleKind

__all__ = [
    "AboutOrder",
    "Approval",
    "ConnectionSlotsBusyError",
    "ConsentEvent",
    "Fence",
    "Finding",
    "InboxDelivery",
    "Intent",
    "IntentError",
    "IntentId",
    "IntentRecord",
    "Lease",
    "LeaseHeldError",
    "LeaseLostError",
    "Ledger",
    "LedgerConnectionSlots",
    "LedgerError",
    "LedgerSchemaError",
    "LedgerUnavailableError",
    "Observation",
    "ObservationError",
    "ObservationSummary",
    "OpenIntent",
    "OpenStoreIntent",
    "OpenTrouble",
    "Outcome",
    "PlanError",
    "PlanRecord",
    "RunBeat",
    "StatusChange",
    "StoreIntent",
    "StoreRecord",
    "StoreState",
    "Trouble",
    "TroubleKind",
]
