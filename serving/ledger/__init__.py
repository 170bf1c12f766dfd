"""The ledger: contacts, outcomes, events, consents, records and keys, in one database."""
