"""How fast this machine finds cracks: each model, precision and backend in one table."""
