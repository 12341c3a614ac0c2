"""Families of pretrained folders: a file each, with its network behind one call and the function that makes its parts."""
