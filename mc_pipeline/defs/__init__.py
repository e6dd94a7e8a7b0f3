"""What Dagster shows: assets, checks, jobs and schedules.

Declarations here stay thin: they read settings and tables, call ``sync``, ``domain`` or a client, and report
metadata. No rule is decided here, and no request is built here.
"""
