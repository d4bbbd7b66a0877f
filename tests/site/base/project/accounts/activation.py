"""The link that proves that a new user reads the address they gave."""

from django.contrib.auth import get_user_model
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode


class ActivationTokenGenerator(PasswordResetTokenGenerator):
    key_salt = "accounts.activation"

    def _make_hash_value(self, user, timestamp):
        # With is_active in it, a token is of no use after the activation.
        return f"{super()._make_hash_value(user, timestamp)}{user.is_active}"


tokens = ActivationTokenGenerator()


def mail_link(request, user):
    uid = urlsafe_base64_encode(str(user.pk).encode())
    path = reverse("activate", args=[uid, tokens.make_token(user)])
    body = render_to_string(
        "accounts/activation_email.txt",
        {"user": user, "link": request.build_absolute_uri(path)},
    )
    send_mail("Activate your account", body, None, [user.email])


def user_of_link(uid, token):
    """The user to activate, or None if the link is not, or no longer, good."""
    users = get_user_model().objects
    try:
        user = users.filter(pk=int(urlsafe_base64_decode(uid))).first()
    except ValueError:
        return None
    return user if tokens.check_token(user, token) else None
