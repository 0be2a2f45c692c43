"""What a run has: its context, its console, the log lines and the child processes it makes."""
