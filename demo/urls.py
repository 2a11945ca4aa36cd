"""The URLs of the demo site."""

from django.contrib import admin
from django.contrib.auth import views as auth
from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("add/", views.add, name="add"),
    path("notify/", views.notify, name="notify"),
    path("project/", views.project, name="project"),
    path("bootstrap/", views.bootstrap, name="bootstrap"),
    path("mail/", views.mail, name="mail"),
    path("mail/<slug:name>/", views.mail_html, name="mail_html"),
    path("log-in/", auth.LoginView.as_view(template_name="demo/log_in.html"), name="login"),
    path("log-out/", auth.LogoutView.as_view(), name="logout"),
    path("messages/", include("persistent_messages.urls")),
    path("admin/", admin.site.urls),
]
