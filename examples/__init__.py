"""The four callers of the service, in the standard library alone: copy what you need."""
