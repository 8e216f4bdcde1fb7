"""Pages that show a run while it goes on, or after it: the agent at play, and its training."""
