"""The use case: one message to one outcome."""
