from django import forms
from django.core.validators import FileExtensionValidator

from sources.models import Annotation, Image, Label, Source
from sources.patches import make_patch


class SourceForm(forms.ModelForm):
    class Meta:
        model = Source
        fields = ["name"]


class LabelForm(forms.ModelForm):
    class Meta:
        model = Label
        fields = ["name", "code"]

    def clean_code(self):
        code = self.cleaned_data["code"]
        if self.instance.source.labels.filter(code=code).exists():
            raise forms.ValidationError("This source has a label with this code already.")
        return code


class FilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class FilesField(forms.ImageField):
    """Several images in one field; each is checked as Django checks one."""

    widget = FilesInput(attrs={"accept": ".jpg,.jpeg,.png"})
    default_validators = [FileExtensionValidator(["jpg", "jpeg", "png"])]

    def clean(self, data, initial=None):
        clean_one = super().clean
        return [clean_one(item, initial) for item in data or [None]]

    def to_python(self, data):
        file = super().to_python(data)
        if file and file.image.format not in ("JPEG", "PNG"):
            raise forms.ValidationError("Only JPEG and PNG images can be uploaded.")
        return file


class UploadForm(forms.Form):
    files = FilesField()

    def save(self, source):
        images = []
        for file in self.cleaned_data["files"]:
            patch = make_patch(file, file.name)
            image = Image(source=source, name=file.name, file=file, patch=patch)
            image.save()
            images.append(image)
        return images


class AnnotationForm(forms.ModelForm):
    class Meta:
        model = Annotation
        fields = ["label", "x", "y"]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        image = self.instance.image
        self.fields["label"].queryset = image.source.labels
        self.fields["x"].widget.attrs["max"] = image.width - 1
        self.fields["y"].widget.attrs["max"] = image.height - 1

    def clean(self):
        values = super().clean()
        image = self.instance.image
        if values.get("x", 0) >= image.width or values.get("y", 0) >= image.height:
            raise forms.ValidationError("This point is outside the image.")
        return values
