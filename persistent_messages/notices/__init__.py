"""What a site tells its users: notices declared as classes, and broadcasts."""

from .audiences import audience
from .kinds import Notice

__all__ = ["Notice", "audience"]
