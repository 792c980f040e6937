"""The outbox: messages that the store keeps, from their acceptance to an end that can be asked for."""
