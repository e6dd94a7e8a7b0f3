"""Checks that the settings fit the two systems, without changing anything in them.

``findings`` says what a check is and gives; the checks are in ``machine_checks``, ``odoo_checks`` and
``mailchimp_checks``; ``checkup`` runs them. To add one, write a small generator of findings there and name it
in the tuple at that module's end. How findings are shown belongs to the command line.
"""
