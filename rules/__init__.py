"""The contact policy and the decision: pure, no clock, no database. Start at `rules.types`."""
