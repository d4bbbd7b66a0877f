from django.db.models.signals import post_delete
from django.dispatch import receiver

from sources.models import Image


@receiver(post_delete, sender=Image)
def delete_files(sender, instance, **kwargs):
    """Here and not in Image.delete(), which a cascade does not call."""
    instance.file.delete(save=False)
    instance.patch.delete(save=False)
