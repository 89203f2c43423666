"""A recording in parts: written chunk by chunk, and made whole again after a kill."""
