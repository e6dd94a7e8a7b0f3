"""Alembic's scripts for the ledger; ``mc_pipeline.ledger.migration`` runs them."""
