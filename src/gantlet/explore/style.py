"""Style generators, as the tools know them."""

from gantlet.nets.styles import Style, needs_style, style_of

__all__ = ["Style", "needs_style", "style_of"]
