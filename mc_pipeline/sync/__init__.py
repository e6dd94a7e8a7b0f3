"""The work of a run, without Dagster: what is asked of the systems, in which order, and what is written down.

Rules are in ``mc_pipeline.domain``, requests in the clients, sending plans in ``mc_pipeline.push``; how a run
shows in Dagster is in ``mc_pipeline.defs``.
"""
