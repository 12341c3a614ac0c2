"""Kinds of data: files <-> states, one sub-package each (`registry.kinds` names them)."""
