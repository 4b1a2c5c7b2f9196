"""What the hotreload tool does; the SCons tool itself is thin (see ARCHITECTURE.md)."""

__version__ = "0.1.0"
