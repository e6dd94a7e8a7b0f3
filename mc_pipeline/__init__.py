"""Keeps each Odoo company's Mailchimp audience right."""
