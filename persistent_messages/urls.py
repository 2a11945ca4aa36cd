"""The pages. Their names are not namespaced: sites of 2011 reverse them as they are."""

from django.urls import path

from . import bulk, correspondence, views

urlpatterns = [
    path("", views.message_list, name="message_list"),
    path("detail/<int:message_id>/", views.message_detail, name="message_detail"),
    path("mark_read/<int:message_id>/", views.message_mark_read, name="message_mark_read"),
    path("mark_read/all/", bulk.message_mark_all_read, name="message_mark_all_read"),
    path("mark_unread/<int:message_id>/", views.message_mark_unread, name="message_mark_unread"),
    path("open/<int:message_id>/", views.message_open, name="message_open"),
    path("archive/<int:message_id>/", views.message_archive, name="message_archive"),
    path("restore/<int:message_id>/", views.message_restore, name="message_restore"),
    path("delete/message/<int:message_id>/", views.message_delete, name="message_delete"),
    path("delete/all/", bulk.message_delete_all, name="message_delete_all"),
    path("bulk/", bulk.message_bulk, name="message_bulk"),
    path("undo/<str:token>/", bulk.message_undo, name="message_undo"),
    path("latest/", views.message_latest, name="message_latest"),
    path("news/", views.message_news, name="message_news"),
    path("write/", correspondence.message_compose, name="message_compose"),
    path("write/people/", correspondence.message_people, name="message_people"),
    path("reply/<int:message_id>/", correspondence.message_reply, name="message_reply"),
    path("block/<int:message_id>/", correspondence.message_block, name="message_block"),
    path("blocked/", correspondence.message_blocked, name="message_blocked"),
    path("unblock/<int:block_id>/", correspondence.message_unblock, name="message_unblock"),
    path("report/<int:message_id>/", correspondence.message_report, name="message_report"),
    path("dismiss/", views.message_dismiss, name="message_dismiss"),
]
