"""Many runs from one description: what to run, running it, and what came of it."""
