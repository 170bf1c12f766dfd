"""Alembic migrations of the ledger, forward only; `serving.ledger.book` runs them when it opens."""
