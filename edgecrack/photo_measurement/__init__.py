"""Measure cracks in still photos: `cracks.json`, a table, drawings and plots."""
