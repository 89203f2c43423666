"""The review of a surveyed run: what a person decides of each crack, kept beside the machine's."""
