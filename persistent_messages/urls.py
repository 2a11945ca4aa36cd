"""The URLs. They have no namespace, so that sites from 2011 can still reverse their names."""

from __future__ import annotations

from django.urls import path

from .views import bulk, csrf, events, inbox, letters, message, polling, preferences, undo

urlpatterns = [
    path("", inbox.message_list, name="message_list"),
    path("detail/<int:message_id>/", message.message_detail, name="message_detail"),
    path("mark_read/<int:message_id>/", message.message_mark_read, name="message_mark_read"),
    path("mark_read/all/", bulk.message_mark_all_read, name="message_mark_all_read"),
    path("mark_unread/<int:message_id>/", message.message_mark_unread, name="message_mark_unread"),
    path("open/<int:message_id>/", message.message_open, name="message_open"),
    path("archive/<int:message_id>/", message.message_archive, name="message_archive"),
    path("restore/<int:message_id>/", message.message_restore, name="message_restore"),
    path("delete/message/<int:message_id>/", message.message_delete, name="message_delete"),
    path("delete/all/", bulk.message_delete_all, name="message_delete_all"),
    path("bulk/", bulk.message_bulk, name="message_bulk"),
    path("go_on/", bulk.message_go_on, name="message_go_on"),
    path("undo/<str:token>/", undo.message_undo, name="message_undo"),
    path("latest/", inbox.message_latest, name="message_latest"),
    path("news/", polling.message_news, name="message_news"),
    path("events/", events.message_events, name="message_events"),
    path("write/", letters.message_compose, name="message_compose"),
    path("write/people/", letters.message_people, name="message_people"),
    path("reply/<int:message_id>/", letters.message_reply, name="message_reply"),
    path("block/<int:message_id>/", letters.message_block, name="message_block"),
    path("blocked/", letters.message_blocked, name="message_blocked"),
    path("unblock/<int:block_id>/", letters.message_unblock, name="message_unblock"),
    path("report/<int:message_id>/", letters.message_report, name="message_report"),
    path("preferences/", preferences.message_preferences, name="message_preferences"),
    path("export/", preferences.message_export, name="message_export"),
    path("unsubscribe/<str:token>/", preferences.message_unsubscribe, name="message_unsubscribe"),
    path("token/", csrf.message_token, name="message_token"),
    path("dismiss/", message.message_dismiss, name="message_dismiss"),
]
