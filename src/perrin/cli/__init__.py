"""The command line: one small file per verb, imported only when the verb (or the list of verbs) is asked for.

To add a verb: write `cli/<verb>.py` with a function `command` (its docstring is the help text, its
annotated parameters are the options, `cli/common.py` has the shared ones) and add the name to `VERBS` in
`cli/entry.py`. A verb file imports torch and the rooms below inside its function, so that `perrin --help`
stays instant.
"""
