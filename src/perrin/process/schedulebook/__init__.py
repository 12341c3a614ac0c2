"""The schedules of the literature, a family a file."""
