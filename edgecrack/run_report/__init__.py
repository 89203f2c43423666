"""A report of a surveyed run that an inspector can read and sign."""
