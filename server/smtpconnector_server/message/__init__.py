"""The mail: template, addresses, headers and MIME. Pure: values in, octets out."""
