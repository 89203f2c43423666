"""From frames to results: threads, and what is left out when time is short."""
