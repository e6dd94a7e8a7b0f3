"""Looks whether an audience has opt-outs that the ledger does not know; changes nothing.

Four small requests an audience. What is found is compared with the ledger's last known statuses, so that it
is news until a run has recorded it, whatever was looked at before.
"""

from collections.abc import Mapping

from mc_pipeline.consent.polling import ErasedLike
from mc_pipeline.ledger import Ledger
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.opt_out_reading import OVERLAP, newest_changes

_LOOKED_AT = ("unsubscribed", "cleaned", "archived", "subscribed")


def news_of(
    client: MailchimpClient, ledger: Ledger, audiences: Mapping[str, str], erased: ErasedLike
) -> list[str]:
    """Return what is new, in words; ``audiences`` are list ids by name.

    Raises:
        MailchimpError: Mailchimp could not be asked.
    """
    read_until = ledger.opt_out_reads.read_until(audiences.values())
    news = []
    waiting = ledger.inbox.count_waiting(audiences.values())
    if waiting:
        news.append(f"{waiting:,} deliveries of webhooks")
    for audience, list_id in audiences.items():
        if list_id not in read_until:
            news.append(f"{audience}, which was never read for opt-outs")
            continue
        for status in _LOOKED_AT:
            rows = erased.without(newest_changes(client, list_id, status, read_until[list_id] - OVERLAP))
            emails = list(rows["email"])
            if status == "subscribed":
                emails = sorted(ledger.members.with_opt_outs(list_id, emails) & set(emails))
            known = ledger.members.last_statuses(list_id, emails)
            count = sum(known.get(email) != status for email in emails)
            if count:
                news.append(f"{audience}: {count:,} {status}")
    return news
