"""Event streams: what the bank's brokers carry enters the ledger as if it had come by HTTP."""
