"""Webhooks of Mailchimp: their registration, the server that receives them, and what they report.

A webhook is a hint that may be lost: whatever it reports is also found by polling. What it adds is speed, and
who did it, the person or an administrator. What an event means is decided in :mod:`mc_pipeline.domain`.
"""
