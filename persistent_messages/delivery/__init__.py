"""Delivery of messages outside the site: mail, live updates and a site's own channels."""

from .channels import Channel
from .live import LiveChannel
from .mail import MailChannel

__all__ = ["Channel", "LiveChannel", "MailChannel"]
