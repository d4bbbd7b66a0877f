from django.contrib.auth import views as auth
from django.urls import path

from accounts import views

# What these views need to be rendered by the one template of forms
LOG_IN = {"title": "Log in", "button": "Log in"}
ASK = {"button": "Mail me a link"}
RESET = {"button": "Set password"}

urlpatterns = [
    path("register/", views.register, name="register"),
    path("activate/<str:uid>/<str:token>/", views.activate, name="activate"),
    path("delete/", views.delete, name="account_delete"),
    path(
        "login/",
        auth.LoginView.as_view(template_name="accounts/login.html", extra_context=LOG_IN),
        name="login",
    ),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path(
        "password_reset/",
        auth.PasswordResetView.as_view(template_name="form.html", extra_context=ASK),
        name="password_reset",
    ),
    path(
        "password_reset/done/",
        auth.PasswordResetDoneView.as_view(template_name="accounts/password_reset_done.html"),
        name="password_reset_done",
    ),
    path(
        "reset/<uidb64>/<token>/",
        auth.PasswordResetConfirmView.as_view(
            template_name="accounts/password_reset_confirm.html", extra_context=RESET
        ),
        name="password_reset_confirm",
    ),
    path(
        "reset/done/",
        auth.PasswordResetCompleteView.as_view(
            template_name="accounts/password_reset_complete.html"
        ),
        name="password_reset_complete",
    ),
]
