"""The admin pages: messages, broadcasts, and the moderation of letters."""

from .broadcasts import BroadcastAdmin
from .letters import BlockAdmin, ReportAdmin
from .messages import MessageAdmin

__all__ = ["BlockAdmin", "BroadcastAdmin", "MessageAdmin", "ReportAdmin"]
