"""Scores by stratum: crack width, surface, contrast, and false alarms by what they are on."""
