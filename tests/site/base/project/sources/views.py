from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from sources.exports import export_response
from sources.forms import AnnotationForm, LabelForm, SourceForm, UploadForm
from sources.models import Annotation, Image, Label, Source


def visible_source(request, pk):
    return get_object_or_404(Source.objects.visible_to(request.user), pk=pk)


@login_required
def source_list(request):
    sources = Source.objects.visible_to(request.user)
    return render(request, "sources/source_list.html", {"sources": sources})


@login_required
def source_new(request):
    form = SourceForm(request.POST or None, instance=Source(owner=request.user))
    if form.is_valid():
        return redirect(form.save())
    return render(request, "form.html", {"form": form, "title": "New source", "button": "Create"})


@login_required
def source(request, pk):
    source = visible_source(request, pk)
    posted = [request.POST, request.FILES] if request.method == "POST" else []
    form = UploadForm(*posted)
    if form.is_valid():
        images = form.save(source)
        messages.success(request, f"{len(images)} uploaded.")
        return redirect(source)
    return render(request, "sources/source.html", {"source": source, "form": form})


@login_required
@require_POST
def source_delete(request, pk):
    source = visible_source(request, pk)
    source.delete()
    messages.success(request, f"{source.name} was deleted.")
    return redirect("source_list")


@login_required
def labelset(request, pk):
    source = visible_source(request, pk)
    form = LabelForm(request.POST or None, instance=Label(source=source))
    if form.is_valid():
        form.save()
        return redirect("labelset", pk)
    return render(request, "sources/labelset.html", {"source": source, "form": form})


@login_required
def export(request, pk):
    return export_response(visible_source(request, pk))


@login_required
def image(request, pk):
    image = get_object_or_404(Image, pk=pk, source__in=Source.objects.visible_to(request.user))
    form = AnnotationForm(
        request.POST or None, instance=Annotation(image=image, author=request.user)
    )
    if form.is_valid():
        form.save()
        return redirect(image)
    history = image.annotations.select_related("label", "author")
    return render(request, "sources/image.html", {"image": image, "form": form, "history": history})
