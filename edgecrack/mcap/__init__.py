"""MCAP files and the CDR messages in them: read, indexed, written."""
