"""Picture files and their pixels: what they are, how they were taken, what shows nothing."""
