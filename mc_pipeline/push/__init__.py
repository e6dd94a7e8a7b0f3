"""Applies what was decided, to Mailchimp, so that a crash at any point loses nothing and repeats nothing.

Every write goes the same way: its intent is committed to the ledger, it is sent, its outcome is committed
before another write to the same address (rule 7.4). What an interrupted run left open is settled first
in the next run. Nothing is decided here: rows come from ``domain``, requests are built in ``mailchimp``.
"""
