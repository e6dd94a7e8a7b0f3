"""Sends the orders to the stores, month by month, so that each holds what it should (RULES 9).

``pusher`` goes through them. First it finds what differs from what the stores hold according to the ledger
(``due``): an unchanged order costs no request. Before an order is created or replaced, the store is asked
whether it has it already (``push.store_adoption``). If a store would be lowered too much, these orders wait
(``domain.store.guards``). Then, of each month (``month``), orders leave (``departures``), the customers of
those that come are made (``customers``), and orders come and change (``prepared``); what one was refused for
is corrected (``mending``). A store that fails delays no other. ``rows`` holds the results, ``run`` is what
all of them know. What happens to an order that a store holds, and that is no longer due in any, is decided in
``domain.store.held_orders``.
"""

from mc_pipeline.push.orders.pusher import OrderPusher
from mc_pipeline.push.orders.rows import OrderPush, StoreFailure
from mc_pipeline.push.orders.run import Orders

__all__ = ["OrderPush", "OrderPusher", "Orders", "StoreFailure"]
