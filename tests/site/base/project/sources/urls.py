from django.urls import path

from sources import views

urlpatterns = [
    path("sources/", views.source_list, name="source_list"),
    path("sources/new/", views.source_new, name="source_new"),
    path("sources/<int:pk>/", views.source, name="source"),
    path("sources/<int:pk>/delete/", views.source_delete, name="source_delete"),
    path("sources/<int:pk>/labelset/", views.labelset, name="labelset"),
    path("sources/<int:pk>/export/", views.export, name="export"),
    path("images/<int:pk>/", views.image, name="image"),
]
