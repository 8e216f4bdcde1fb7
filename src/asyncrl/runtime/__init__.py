"""Workers, what they share, and the supervisor that starts, watches and saves them."""
