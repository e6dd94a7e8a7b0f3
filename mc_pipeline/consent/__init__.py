"""Carries consent between the systems: reads events, finds out whose act they were, records them.

What follows from an event is decided in ``mc_pipeline.domain``; the events are in ``mc_pipeline.ledger``.
"""
