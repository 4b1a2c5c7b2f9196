"""A session and a fresh scons, side by side: the project, the edits, and the comparison."""
