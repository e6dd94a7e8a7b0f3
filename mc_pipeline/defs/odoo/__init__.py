"""Odoo as it is: partners, orders and the blacklist, read by company."""
