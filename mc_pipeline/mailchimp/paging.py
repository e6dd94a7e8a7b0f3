"""Reading what Mailchimp answers in pages, all of it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from mc_pipeline.mailchimp.answers import require


class Page(NamedTuple):
    """A page of a collection: its items, and how many there are in all, as Mailchimp counts just then."""

    items: list[dict[str, Any]]
    total: int


def pages(
    ask: Callable[..., Any], name: str, *place: str, fields: Sequence[str], count: int, **filters: Any
) -> Iterator[Page]:
    """Read a collection page by page, until as many items were answered as there are, or none came.

    At least one page is read; its items may be none. Offsets move while things come and go: who has to lose
    nothing compares what was read with ``total``.

    Args:
        ask: the call of Mailchimp's library that lists the collection.
        name: of the collection in the answer.
        place: where it is: the id of an audience or a store.
        fields: of each item; nothing else is answered.
        count: items a page.
        filters: further parameters of the call.

    Raises:
        MailchimpServerError: an answer is no page of this collection.
    """
    wanted = ["total_items", *(f"{name}.{field}" for field in fields)]
    offset, total = 0, 1
    while offset < total:
        answer = ask(*place, count=count, offset=offset, fields=wanted, **filters)
        total = require(answer, "total_items", int)
        items = require(answer, name, list)
        yield Page(items, total)
        if not items:
            return
        offset += len(items)
