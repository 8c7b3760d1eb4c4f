"""The loader: photographs with their captions, from tables and folders or from WebDataset shards, in batches.

```python
from peyda.training.loading import ImageAugmentation, PhotoCaptions, SkipLog, TypedPersian, photo_batches

train = PhotoCaptions.from_table("captions.parquet", "photos")  # or .from_webdataset("shards/{000000..000009}.tar")
log = SkipLog()
for batch in photo_batches(
    train, batch=256, seed=0, epoch=0, preprocess=preprocess, workers=4, on_skip=log,
    augment_image=ImageAugmentation(), augment_text=TypedPersian(),
):
    ...  # batch.images Float32[256, 3, s, s], batch.photos Int64[256], batch.texts list[list[str]]
print(log)  # "3 photographs skipped: truncated 2, empty 1"
```
"""

from __future__ import annotations

from peyda.training.loading.augment import ImageAugmentation
from peyda.training.loading.batches import PhotoBatch, SkipLog, batches_per_epoch, photo_batches
from peyda.training.loading.source import PhotoCaptions, PhotoSource
from peyda.training.loading.typed import TypedPersian

__all__ = [
    "ImageAugmentation",
    "PhotoBatch",
    "PhotoCaptions",
    "PhotoSource",
    "SkipLog",
    "TypedPersian",
    "batches_per_epoch",
    "photo_batches",
]
