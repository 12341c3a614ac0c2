"""Named systems of the literature, each a composition on the one core."""
