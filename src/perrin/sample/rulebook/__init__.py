"""The rules, a family a file. In every formula a step goes from s to the cleaner t, h = lam_t - lam_s."""
