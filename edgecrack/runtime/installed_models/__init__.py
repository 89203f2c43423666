"""Models installed on a machine: the store, the self-test, and opening the one in use."""
