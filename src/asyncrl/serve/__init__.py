"""Web pages that show a run, while it trains or afterwards: the agent at play, and the training."""
