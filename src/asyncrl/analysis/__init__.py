"""What a run did and what its agent learned, as pictures and videos."""
