"""The report page and what its viewer shows."""
