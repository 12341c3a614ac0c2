"""Training: recipes, the loop, checkpoints, averages of the weights."""
