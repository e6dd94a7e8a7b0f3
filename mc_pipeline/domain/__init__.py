"""The rules of docs/rules.md: who is a contact, in which audience, with which status, and what changes.

Pure functions over tables and dataclasses. No Dagster, no HTTP, no clock, no environment, and no import of
another part of this package, so that every rule can be tested as a table of cases.
"""
