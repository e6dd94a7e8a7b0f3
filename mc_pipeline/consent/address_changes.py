"""Takes changes of address that webhooks told into the history: an opt-out follows its person (rule 6.3)."""

from collections.abc import Iterable

from mc_pipeline.domain.former_addresses import standing_opt_out
from mc_pipeline.ledger import ConsentEvent, InboxDelivery, Ledger
from mc_pipeline.ledger.consent import OPT_OUT

CHANGE_OF_ADDRESS = "upemail"


def record_address_changes(
    ledger: Ledger, company: str, audience: str, deliveries: Iterable[InboxDelivery]
) -> list[ConsentEvent]:
    """Record who is whom now; return the opt-outs that present addresses inherit, to be recorded.

    An opt-out is inherited with the time at which it was made, so that told twice it is one. It is of unknown
    origin: it restricts, and who made it stands in the history of the former address.
    """
    inherited = []
    for delivery in deliveries:
        if delivery.type != CHANGE_OF_ADDRESS or not delivery.email or not delivery.new_email:
            continue
        at = delivery.fired_at or delivery.received_at
        ledger.members.record_change_of_address(
            company, delivery.list_id, delivery.email, delivery.new_email, at
        )
        opted_out_at = standing_opt_out(ledger.consent.events(email=delivery.email))
        if opted_out_at is not None:
            inherited.append(
                ConsentEvent(
                    company=company,
                    audience=audience,
                    list_id=delivery.list_id,
                    email=delivery.new_email,
                    event=OPT_OUT,
                    origin="unknown",
                    occurred_at=opted_out_at,
                    seen_at=delivery.received_at,
                    evidence={"webhook": delivery.source, "inherited": "opted out under the former address"},
                    source="webhook",
                )
            )
    return inherited
