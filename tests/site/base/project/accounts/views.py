from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.activation import mail_link, user_of_link
from accounts.forms import RegistrationForm


def register(request):
    form = RegistrationForm(request.POST or None)
    if form.is_valid():
        # No mail, no user: the name stays free for a second try.
        with transaction.atomic():
            user = form.save()
            mail_link(request, user)
        messages.success(request, f"We have mailed an activation link to {user.email}.")
        return redirect("login")
    return render(request, "form.html", {"form": form, "title": "Register", "button": "Register"})


def activate(request, uid, token):
    user = user_of_link(uid, token)
    if user is None:
        messages.error(request, "This activation link is not valid, or was used already.")
        return redirect("home")
    user.is_active = True
    user.save(update_fields=["is_active"])
    messages.success(request, "Your account is active. You can log in now.")
    return redirect("login")


@login_required
@require_POST
def delete(request):
    """Remove the account and, by cascade, all its sources with their files."""
    user = request.user
    logout(request)
    user.delete()
    messages.success(request, "Your account was deleted.")
    return redirect("home")
