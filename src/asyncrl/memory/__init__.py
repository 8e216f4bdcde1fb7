"""What workers learn from: the latest rollout, or what they keep of earlier ones."""
