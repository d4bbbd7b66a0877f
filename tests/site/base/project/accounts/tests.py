import re

from django.contrib.auth import get_user_model
from django.core import mail

from config.testing import SiteTestCase

PASSWORD = "staghorn-and-table"
FORM = {"username": "ann", "email": "ann@example.org", "password": PASSWORD}


def mailed_path():
    return re.search(r"http://testserver(\S+)", mail.outbox[-1].body)[1]


class RegistrationTest(SiteTestCase):
    def log_in(self, password=PASSWORD):
        return self.client.post("/accounts/login/", {"username": "ann", "password": password})

    def test_the_mailed_link_activates_the_account(self):
        self.assertRedirects(self.client.post("/accounts/register/", FORM), "/accounts/login/")
        self.assertEqual(mail.outbox[-1].to, ["ann@example.org"])
        self.assertContains(self.log_in(), "Please enter a correct username")

        self.assertRedirects(self.client.get(mailed_path()), "/accounts/login/")
        self.assertRedirects(self.log_in(), "/sources/")

    def test_a_link_works_once(self):
        self.client.post("/accounts/register/", FORM)
        self.client.get(mailed_path())
        answer = self.client.get(mailed_path(), follow=True)
        self.assertContains(answer, "is not valid")

    def test_a_link_that_was_tampered_with_does_nothing(self):
        self.client.post("/accounts/register/", FORM)
        for path in (mailed_path()[:-2] + "/", "/accounts/activate/x/y/"):
            self.assertContains(self.client.get(path, follow=True), "is not valid")
        self.assertFalse(get_user_model().objects.get().is_active)

    def test_weak_passwords_are_refused(self):
        for password in ("12345678901", "ann@example.org", "short"):
            answer = self.client.post("/accounts/register/", FORM | {"password": password})
            self.assertContains(answer, "errorlist")
        self.assertFalse(get_user_model().objects.exists())

    def test_password_reset_by_mail(self):
        get_user_model().objects.create_user("ann", "ann@example.org", PASSWORD)
        self.client.post("/accounts/password_reset/", {"email": "ann@example.org"})
        form = self.client.get(mailed_path(), follow=True)
        self.assertContains(form, "Set password")
        new = {"new_password1": "brain-and-fire", "new_password2": "brain-and-fire"}
        answer = self.client.post(form.redirect_chain[-1][0], new)
        self.assertRedirects(answer, "/accounts/reset/done/")
        self.assertRedirects(self.log_in("brain-and-fire"), "/sources/")

    def test_log_out_and_delete(self):
        get_user_model().objects.create_user("ann", "ann@example.org", PASSWORD)
        self.log_in()
        self.assertRedirects(self.client.post("/accounts/logout/"), "/")
        self.log_in()
        self.assertRedirects(self.client.post("/accounts/delete/"), "/")
        self.assertFalse(get_user_model().objects.exists())
