"""Searches good settings for an environment: trials of equal time, the best of which becomes a preset file."""
