"""What a type checker says about an application's code."""
