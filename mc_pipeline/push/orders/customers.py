"""The customers of a store: made before their orders come, taken out when they have none any more."""

from collections.abc import Hashable, Sequence

import pandas as pd

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.domain.store.changes import Step
from mc_pipeline.domain.store.not_written import LEFT_WITH_CUSTOMER, OUTCOME_NOT_KNOWN
from mc_pipeline.ledger import StoreRecord
from mc_pipeline.mailchimp.errors import MailchimpError
from mc_pipeline.mailchimp.members import get_member
from mc_pipeline.mailchimp.store_reading import get_customer
from mc_pipeline.mailchimp.store_writing import customer_body
from mc_pipeline.push.orders.prepared import NOT_SENT, Prepared
from mc_pipeline.push.orders.rows import Month, StoreFailure
from mc_pipeline.push.orders.run import OrderRun
from mc_pipeline.push.store_settling import read_back
from mc_pipeline.push.store_writes import StoreChange, StoreResult
from mc_pipeline.vocabulary import MemberStatus, OutcomeKind, StoreChangeKind, StoreOperation


class Customers:
    """The customers of one run."""

    def __init__(self, run: OrderRun) -> None:
        self._run = run

    def make(self, month: Month, prepared: Sequence[Prepared]) -> list[Prepared]:
        """Create the customers of orders to come; leave out the orders whose customer cannot be created."""
        wanted: dict[str, StoreChange] = {}
        failed: dict[str, StoreResult] = {}
        for each in prepared:
            customer = each.customer
            if customer.present or each.operation == StoreChangeKind.UPDATE or customer.email is None:
                continue
            place = f"{customer.store_id}/{customer.object_id}"
            if customer.key in self._run.open:
                failed[place] = StoreResult(OutcomeKind.HELD_BACK, OUTCOME_NOT_KNOWN)
            elif customer.is_refused("{}", self._run.now):
                failed[place] = StoreResult(
                    OutcomeKind.HELD_BACK, f"its customer was refused: {customer.refused_detail}"
                )
            elif self._left_with_customer(customer):
                failed[place] = StoreResult(OutcomeKind.HELD_BACK, LEFT_WITH_CUSTOMER)
            else:
                body = customer_body(customer.object_id, customer.email)
                wanted[place] = StoreChange(
                    place,
                    customer.store_id,
                    "customer",
                    customer.object_id,
                    (Step(StoreOperation.CREATE, "{}", body=body),),
                    "{}",
                    month=month.month,
                )
        results: dict[Hashable, StoreResult] = {}
        self._run.writes.carry_out(list(wanted.values()), results)
        unclear = [
            change.object_key for place, change in wanted.items() if results.get(place, NOT_SENT).to_read
        ]
        read_back(self._run.writer, unclear)
        for place in wanted:
            result = results.get(place, NOT_SENT)
            if not result.is_done:
                failed[place] = StoreResult(
                    OutcomeKind.HELD_BACK, f"its customer is not there: {result.detail}"
                )
        going = []
        for each in prepared:
            why_not = failed.get(f"{each.customer.store_id}/{each.customer.object_id}")
            if why_not is None:
                going.append(each)
            else:
                month.add(each.change.store_id, each.order_id, each.operation, each.because, why_not)
        return going

    def remove_idle(self, due: pd.DataFrame) -> None:
        """Remove customers from the stores where they no longer have an order, and are due to have none."""
        if not self._run.orders.complete:
            return
        self._run.look_at_open_writes()
        with_open_order = {key[1] for key in self._run.open if key[0] == "order"}
        for store_id in sorted(self._run.stores.keys() - with_open_order - self._run.unusable):
            # With a customer, Mailchimp deletes their orders: first be sure that there are none.
            emails = set(due.loc[due["store_id"] == store_id, "email"])
            left = self._run.ledger.stores.customers_without_orders(self._run.company, store_id, emails)
            try:
                idle = self._idle([record for record in left if record.key not in self._run.open])
                changes = [
                    StoreChange(
                        record.key,
                        store_id,
                        "customer",
                        record.object_id,
                        (Step(StoreOperation.DELETE, None),),
                    )
                    for record in idle
                ]
                self._run.writes.carry_out(changes, {})
            except MailchimpError as error:
                self._run.failures.append(StoreFailure(store_id, "", error))
                self._run.report(f"Customers of {store_id} without orders are still there: {error}")

    def _left_with_customer(self, customer: StoreRecord) -> bool:
        """Whether a customer was deleted in Mailchimp together with the member (rule 9.1)."""
        if (customer.store_id, customer.object_id) not in self._run.mending.missing_customers:
            return False
        list_id = self._run.stores[customer.store_id].list_id
        member = get_member(self._run.writer.client, list_id, subscriber_hash(str(customer.email)))
        return member is None or member["status"] == MemberStatus.ARCHIVED

    def _idle(self, customers: Sequence[StoreRecord]) -> list[StoreRecord]:
        """Return the customers for whom Mailchimp has no order, no matter who sent it; note those that are
        gone."""
        idle, gone = [], {}
        for customer in customers:
            answer = get_customer(self._run.writer.client, customer.store_id, customer.object_id)
            if answer is None:
                gone[customer.key] = (None, None)
            elif not answer.get("orders_count"):
                idle.append(customer)
        if gone:
            writer = self._run.writer
            writer.lease.check()
            writer.ledger.store_intents.settle_as_read(writer.company, writer.fence, gone)
        return idle
