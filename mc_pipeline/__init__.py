"""Keeps each Odoo company's Mailchimp audiences in sync."""

__version__ = "0.2.0"
"""The one place of the version: the package, ``mc-pipeline --version`` and both clients read it from here."""
