"""The edge: the servicer, its mapping to and from the contract's messages, errors to status, life cycle."""
