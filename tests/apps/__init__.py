"""Applications that other processes serve."""
