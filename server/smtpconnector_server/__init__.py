"""smtpconnector: a gRPC service that sends templated e-mails through any SMTP server."""

__version__ = "0.1.0"
