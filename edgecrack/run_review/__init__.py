"""The review of a surveyed run: a person's decision on each crack, kept beside the machine's."""
