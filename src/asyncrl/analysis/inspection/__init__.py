"""What an agent learned, looked at from many sides and put into one report."""
