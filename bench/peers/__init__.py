"""What a user would have instead, and what nothing can beat."""
