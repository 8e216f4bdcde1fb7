"""Where metrics go while a run lasts."""
