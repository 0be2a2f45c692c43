"""What a recurring job is: its schedule, its policies, what the code and operators say of it."""
