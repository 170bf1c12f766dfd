"""Alembic migrations of the ledger, forward only; `serving.ledger` runs them when it opens."""
