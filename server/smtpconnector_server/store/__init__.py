"""The durable store: what was accepted, how far it has come, and nothing that names a person once it has ended."""
