"""The consent history in words: what happened, who did it, and how it is known."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from mc_pipeline.domain.consent.events import ConsentEventLike
from mc_pipeline.vocabulary import EventKind, EventSource, Origin

_HAPPENED: Mapping[str, str] = {
    EventKind.OPT_OUT: "unsubscribed",
    EventKind.CLEAN: "address hard bounced",
    EventKind.COMPLAINT: "complained",
    EventKind.SUBSCRIBE: "subscribed",
    EventKind.ARCHIVE: "archived",
    EventKind.PENDING: "to confirm by mail",
    EventKind.TRANSACTIONAL: "receipts only",
    EventKind.VANISH: "gone from Mailchimp",
    EventKind.ODOO_OPT_OUT: "opted out in Odoo",
    EventKind.ODOO_LIFT: "opt-out removed in Odoo",
}
_REFUSED: Mapping[str, str] = {
    "forgotten": "deleted there before, only the person can sign up again",
    "compliance": "unsubscribed, bounced or under review there, only the person can sign up again",
}
_NOBODYS_ACT = frozenset({EventKind.CLEAN, EventKind.VANISH})
_BY: Mapping[str, str] = {
    Origin.OURS: "by us",
    Origin.PERSON: "by the person",
    Origin.ADMIN: "by an administrator",
    Origin.UNKNOWN: "by whom is unknown",
}
_LEARNED: Mapping[str, str] = {
    EventSource.POLL: "read for opt-outs",
    EventSource.WEBHOOK: "reported by a webhook",
    EventSource.OBSERVATION: "seen when the audience was read",
}
_AT_ONCE = timedelta(minutes=1)


def what_happened(event: ConsentEventLike) -> str:
    """Say what happened and by whom, such as "unsubscribed by the person"."""
    refused = (event.evidence or {}).get("refused")
    if refused:
        return f"permanently refused by Mailchimp: {_REFUSED.get(str(refused), str(refused))}"
    happened = _HAPPENED.get(event.event, event.event.replace("_", " "))
    if event.event in _NOBODYS_ACT and event.origin == Origin.UNKNOWN:
        return happened
    return f"{happened} {_BY[event.origin]}"


def how_it_is_known(event: ConsentEventLike) -> str:
    """Say from which status to which, how that was learned of and when, and what it rests on."""
    evidence = event.evidence or {}
    parts = []
    if event.status_to:
        before = event.status_from or ("not seen before" if evidence.get("first_seen") else "not known")
        parts.append(f"{before} → {event.status_to}")
    if evidence.get("same_status"):
        parts.append(f"between two reads that both showed {evidence['same_status']}")
    if evidence.get("dated_at_the_latest"):
        parts.append("by this moment at the latest: Mailchimp gives no date")
    learned = _LEARNED.get(event.source, "")
    if event.seen_at - event.occurred_at > _AT_ONCE:
        learned = f"{learned or 'learned of'} on {event.seen_at:%Y-%m-%d %H:%M} UTC"
    parts.append(learned)
    parts += _rests_on(evidence)
    return "; ".join(part for part in parts if part)


def _rests_on(evidence: Mapping[str, Any]) -> list[str]:
    parts = []
    if evidence.get("origin_because"):
        parts.append(f"who did it: {evidence['origin_because']}")
    if evidence.get("refused"):
        parts.append(f"Mailchimp's answer when we tried: {evidence.get('title') or 'without a title'}")
    if evidence.get("unsubscribe_reason"):
        parts.append(f"reason given: {evidence['unsubscribe_reason']}")
    if evidence.get("abuse_report"):
        parts.append(f"abuse report {evidence['abuse_report']}")
    if evidence.get("inherited"):
        parts.append(str(evidence["inherited"]))
    if evidence.get("source"):
        since = f" of {evidence['at']}" if evidence.get("at") else ""
        parts.append(f"on consent in Odoo: {evidence['source']}{since}")
    if evidence.get("because"):
        cause = _HAPPENED.get(str(evidence["because"]), str(evidence["because"]).replace("_", " "))
        parts.append(f"because of Mailchimp: {cause}")
    if evidence.get("blacklist_id"):
        parts.append(f"row {evidence['blacklist_id']} of Odoo's blacklist")
    return parts
