"""What a run reports about the stores: which is broken, which waits, which was not checked, and what to do.

The sentences count orders and name stores, months and products; Mailchimp's words are masked.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from mc_pipeline.domain.store.guards import WAITS, LoweredOrders
from mc_pipeline.domain.store.held_orders import KEPT_RIGHT, STAYS
from mc_pipeline.ledger import Trouble, TroubleKind
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.mailchimp.stores import StoreMismatchError
from mc_pipeline.masking import mask_text
from mc_pipeline.push.orders.rows import StoreFailure
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.stores import StoreLeftAlone
from mc_pipeline.vocabulary import DONE, OutcomeKind, Owner

_NAMED = 3


def broken_stores(failures: Mapping[str, MailchimpError], company: CompanySettings) -> list[StoreLeftAlone]:
    """Name the stores that could not be opened as left alone."""
    audiences = {audience.store.id: name for name, audience in company.audiences.items() if audience.store}
    return [
        StoreLeftAlone(store_id, audiences.get(store_id, ""), _words(error))
        for store_id, error in failures.items()
    ]


def of_failures(failures: Collection[StoreFailure]) -> list[Trouble]:
    """Report which stores could not be written or read, or only in some months."""
    return [
        Trouble(
            kind=TroubleKind.BROKEN,
            part="month" if failure.month else "store",
            place=f"{failure.store_id} {failure.month}".strip(),
            code="store_mismatch" if isinstance(failure.error, StoreMismatchError) else "request_failed",
            sentence=f"Store {failure.store_id}{f' in {failure.month}' if failure.month else ''}: "
            f"{_words(failure.error)}",
            what_to_do=failure.error.advice,
            owner=Owner.DATA_ENGINEERING,
        )
        for failure in failures
    ]


def of_left_alone(stores: Collection[StoreLeftAlone], what: str) -> list[Trouble]:
    """Report which stores were not checked; ``what`` was not done with them ("written", "compared")."""
    return [
        Trouble(
            kind=TroubleKind.NOT_LOOKED_AT,
            part="store",
            place=store.store_id,
            code=f"not_{what}",
            sentence=f"Store {store.store_id} of the audience {store.audience} was not {what}: "
            f"{store.because}",
            what_to_do="",
            owner=Owner.DATA_ENGINEERING,
        )
        for store in stores
    ]


def of_products(rows: pd.DataFrame) -> list[Trouble]:
    """Report which stores refused products; ``rows`` of product_push."""
    found = []
    refused = rows[~rows["outcome"].isin(DONE)]
    for store_id, of_store in refused.groupby("store_id", sort=True):
        found.append(
            Trouble(
                kind=TroubleKind.BROKEN,
                part="product",
                place=str(store_id),
                code="products_refused",
                sentence=(
                    f"{_some(of_store['foreign_product_id'], 'product')} of store {store_id} not written, "
                    f"so orders that contain them wait: {_first(of_store['detail'])}"
                ),
                what_to_do=(
                    "Open the product in Odoo (the number of p123 is its id) and correct what Mailchimp's "
                    "message names; it is retried when it changes, and daily."
                ),
                owner=Owner.MARKETING_OPS,
            )
        )
    return found


def of_orders(rows: pd.DataFrame) -> list[Trouble]:
    """Report which stores did not accept orders, by the kind of cause; ``rows`` of order_push."""
    found = []
    kinds = rows.assign(kind=_kinds(rows))
    for (store_id, kind), of_kind in kinds[kinds["kind"] != ""].groupby(["store_id", "kind"], sort=True):
        cause = _CAUSES[str(kind)]
        found.append(
            Trouble(
                kind=cause.kind,
                part="store",
                place=str(store_id),
                code=str(kind),
                sentence=f"{_some(of_kind['foreign_order_id'], 'order')} of store {store_id} {cause.says}: "
                f"{_first(of_kind['detail'])}",
                what_to_do=cause.what_to_do,
                owner=cause.owner,
            )
        )
    return found


def of_differences(differing: pd.DataFrame) -> list[Trouble]:
    """Report which stores are not as they should be although the push did what it could; rows of the
    reconciliation that differ."""
    found = []
    done = differing["push_outcome"].isna() | differing["push_outcome"].isin(DONE)
    for store_id, of_store in differing[done].groupby("store_id", sort=True):
        found.append(
            Trouble(
                kind=TroubleKind.BROKEN,
                part="store",
                place=str(store_id),
                code="orders_differ",
                sentence=f"{_some(of_store['foreign_order_id'], 'order')} of store {store_id} not as in "
                f"Odoo: {_first(of_store['differs_detail'])}",
                what_to_do=(
                    "Sync the company again, which corrects what somebody edited in Mailchimp. An order "
                    "that Odoo does not have is from another program: delete it in Mailchimp."
                ),
                owner=Owner.FINANCE,
            )
        )
    return found


def of_lowered(waiting: Sequence[LoweredOrders]) -> list[Trouble]:
    """Report the stores whose orders wait for an approval."""
    return [
        Trouble(
            kind=TroubleKind.WAITS,
            part="store",
            place=each.store_id,
            code="orders_lowered",
            sentence=f"{len(each.waiting):,} of the {each.held:,} orders of store {each.store_id} would be "
            f"lowered or deleted, more than {each.limit:,}: they wait, and Mailchimp reports too much.",
            what_to_do=(
                "Look at the orders that wait in the check orders_applied, then approve them: mc-pipeline "
                f"approve {each.plan_id}, or the job approve_plan."
            ),
            owner=Owner.FINANCE,
        )
        for each in waiting
    ]


@dataclass(frozen=True)
class _Cause:
    kind: TroubleKind
    says: str
    what_to_do: str
    owner: str


_REFUSED, _CUSTOMERS, _NOT_SENT, _HELD_BACK = (
    "orders_refused", "customers_refused", "orders_not_sent", "orders_held_back",
)  # fmt: skip
_CAUSES: Mapping[str, _Cause] = {
    _REFUSED: _Cause(
        TroubleKind.BROKEN,
        "were refused by Mailchimp",
        "Open the order in Odoo and correct what Mailchimp's message names; it is retried when it changes, "
        "and daily.",
        Owner.FINANCE,
    ),
    _CUSTOMERS: _Cause(
        TroubleKind.BROKEN,
        "wait for their customer, whom Mailchimp refused",
        "If Mailchimp's message names the address, correct it on the contact in Odoo; otherwise look at "
        "the account's plan and limits in Mailchimp, under Account & billing. It is retried daily.",
        Owner.MARKETING_OPS,
    ),
    _NOT_SENT: _Cause(
        TroubleKind.BROKEN,
        "were not written",
        "Nothing, if it is gone after the next sync.",
        Owner.DATA_ENGINEERING,
    ),
    _HELD_BACK: _Cause(TroubleKind.NOT_LOOKED_AT, "were held back", "", Owner.FINANCE),
}


def _kinds(rows: pd.DataFrame) -> list[str]:
    kinds = []
    for outcome, because, text in zip(rows["outcome"], rows["because"], rows["detail"], strict=True):
        detail = text if isinstance(text, str) else ""
        if outcome in DONE or because in (KEPT_RIGHT, STAYS) or detail.startswith(WAITS):
            kinds.append("")
        elif outcome == OutcomeKind.REJECTED:
            kinds.append(_REFUSED)
        elif outcome == OutcomeKind.HELD_BACK:
            kinds.append(_CUSTOMERS if detail.startswith("its customer") else _HELD_BACK)
        else:
            kinds.append(_NOT_SENT)
    return kinds


def _some(identities: pd.Series, thing: str) -> str:
    """Count things and name the first: ``2 orders (o1, o2)``."""
    names = identities.drop_duplicates().astype(str).tolist()
    shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    return f"{len(names):,} {thing}{'' if len(names) == 1 else 's'} ({shown})"


def _first(details: pd.Series) -> str:
    texts = [text for text in details if isinstance(text, str) and text]
    return mask_text(texts[0]) if texts else "Mailchimp gave no reason"


def _words(error: MailchimpError) -> str:
    """What Mailchimp said, masked, without advice."""
    status = f"{error.status} " if error.status else ""
    return mask_text(": ".join(part for part in (f"{status}{error.title}".strip(), error.detail) if part))
