"""The wire: replies and transactions without I/O, sessions, dialer, authentication."""
