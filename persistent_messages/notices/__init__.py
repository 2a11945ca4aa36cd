"""What a site tells its users: notices as classes, declared once, and broadcasts to all."""

from .audiences import audience
from .kinds import Notice

__all__ = ["Notice", "audience"]
