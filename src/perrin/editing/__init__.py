"""People's files restored and edited: read, measured in their own units, given to a model, written back as they were."""
