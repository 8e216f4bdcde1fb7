"""What workers remember: rollouts, and replay memories."""
