from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password


class RegistrationForm(forms.ModelForm):
    email = forms.EmailField()
    password = forms.CharField(widget=forms.PasswordInput, strip=False)

    class Meta:
        model = get_user_model()
        fields = ["username", "email"]

    def clean_password(self):
        values = self.cleaned_data.copy()
        password = values.pop("password")
        # Not like the user's own name or address either
        validate_password(password, self._meta.model(**values))
        return password

    def save(self, commit=True):
        user = super().save(commit=False)
        user.set_password(self.cleaned_data["password"])
        user.is_active = False
        if commit:
            user.save()
        return user
