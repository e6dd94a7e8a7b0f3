"""How Alembic runs: on the connection, and inside the transaction, of the code that opens the ledger."""

from alembic import context

from mc_pipeline.ledger.migration import VERSION_TABLE
from mc_pipeline.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
