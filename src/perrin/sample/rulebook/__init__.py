"""The rules, a family a file. In every formula s is the step's noisier level, t its cleaner one, h = lam_t - lam_s."""
