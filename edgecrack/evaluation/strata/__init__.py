"""Scores by stratum: crack width, surface and contrast, and false alarms by kind of object."""
