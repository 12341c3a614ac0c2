"""Between Perrin's networks and folders of diffusers, both ways: weights by name, schedules, whole folders."""
