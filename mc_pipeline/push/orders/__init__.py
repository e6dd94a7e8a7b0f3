"""Brings the orders into the stores, month by month, so that each holds what it should (RULES 9).

``pusher`` goes through them: first it is looked at what differs, by what the ledger says the stores hold
(``due``): an unchanged order costs no request. Of what is to be created or replaced, the store is asked
whether it has it already (``push.store_adoption``). When a store would be lowered too much, these orders wait
(``domain.store.guards``). Then, of each month (``month``), orders leave (``departures``), the customers of
those that come are made (``customers``), and orders come and change (``prepared``); what one was refused for
is put right (``mending``). A store that fails holds up no other. ``rows`` tells what came of it, ``run`` is
what all of them know. What happens to an order that a store holds and that is due in none any more is told in
``domain.store.held_orders``.
"""

from mc_pipeline.push.orders.pusher import OrderPusher
from mc_pipeline.push.orders.rows import OrderPush, StoreFailure
from mc_pipeline.push.orders.run import Orders

__all__ = ["OrderPush", "OrderPusher", "Orders", "StoreFailure"]
