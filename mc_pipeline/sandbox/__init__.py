"""Stand-in Odoo and Mailchimp servers: real HTTP, in memory, for the demo, the UI and the tests.

Imports nothing of the product: what the product believes about the two systems must not leak into the
servers it is tried against.
"""
