"""The connector's configuration: its model, the forms it arrives in, and what is wrong with it."""
