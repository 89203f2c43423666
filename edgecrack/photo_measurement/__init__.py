"""Cracks in still photos, measured: `cracks.json`, a table, pictures and plots."""
