"""Models installed on this machine: kept, tried, switched and fallen back from."""
