"""Batches as every push handles them: run now, or found again after an interruption."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime

from mc_pipeline.mailchimp import batches
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import BatchLostError

Results = Mapping[str, batches.OperationResult]

# Doubling from a quarter of a second costs two requests more than waiting from the start.
POLL = batches.PollPolicy(first_wait_seconds=0.25)
PATIENCE = batches.PollPolicy(first_wait_seconds=0.25, total_seconds=300)
_ONE_LOOK = batches.PollPolicy(total_seconds=0)


def carry_out(
    client: MailchimpClient, operations: Sequence[batches.Operation], submitted: Callable[[str], None]
) -> Results:
    """Submit a batch, pass its id to ``submitted``, wait, and return results by operation; none where lost.

    Raises:
        BatchUnfinishedError: it is still running.
        MailchimpError: it was not submitted, or nobody knows.
    """
    batch_id = batches.submit(client, operations)
    submitted(batch_id)
    try:
        batches.wait(client, batch_id, POLL)
        return batches.results(client, batch_id)
    except BatchLostError:
        # What the batch did is seen by reading back.
        return {}


def interrupted_batches(
    client: MailchimpClient,
    known: Collection[str],
    nameless_since: datetime | None,
    patience: batches.PollPolicy = PATIENCE,
) -> Iterator[tuple[str, Results | None]]:
    """Wait for the batches of interrupted runs and yield their results; None for one that is still running.

    A batch may have been submitted although its id was never recorded: ``nameless_since`` is since when, and
    all that the account submitted since then are looked at. Lost batches are passed over.
    """
    batch_ids = set(known)
    if nameless_since is not None:
        batch_ids |= set(batches.submitted_since(client, nameless_since))
    for batch_id in sorted(batch_ids):
        try:
            batches.wait(client, batch_id, patience)
            yield batch_id, batches.results(client, batch_id)
        except BatchLostError:
            continue
        except batches.BatchUnfinishedError:
            # Mailchimp works off one after the other: behind this one the others wait as well.
            patience = _ONE_LOOK
            yield batch_id, None
