"""Image data: sources, users and their images, batches, and owners' photo files.

`load` reads a source into `Splits`; `assign_users` gives users their images; `training_set`
replaces originals by published (marked) images; `BatchPlan` gives the rows of each training
step. Images are uint8 `[n, H, W, 3]`, channels last. A set that is too large for memory is a
`StreamedDataset`, whose images are decoded when they are indexed; `prefetch` reads ahead.
`list_photos`, `read_photo` and `png_of` handle the photo files of an owner; `read_original` and
`encode` write a marked copy in the original's format; `image_quality` measures how visible a
mark is.
"""

from anw_jax.data.batches import BatchPlan, padded_rows, permutation, prefetch
from anw_jax.data.colour_difference import colour_differences
from anw_jax.data.dataset import (
    Dataset,
    Splits,
    StreamedDataset,
    channel_statistics,
    chunks,
)
from anw_jax.data.mark_pictures import MARK_PICTURES, mark_picture
from anw_jax.data.photo_colour import PhotoColour, colour_of
from anw_jax.data.photo_files import Encoded, Encoding, Original, encode, read_original
from anw_jax.data.photos import FolderListing, list_folder, list_photos, png_of, read_photo
from anw_jax.data.quality import ImageQuality, image_quality
from anw_jax.data.sources import SOURCES, load
from anw_jax.data.streamed import StreamedImages
from anw_jax.data.thumbnails import Pair, contact_sheet, jpeg_of, thumbnail
from anw_jax.data.users import (
    KINDS,
    UserImages,
    UserPartition,
    UserSpec,
    assign_users,
    training_set,
)

__all__ = [
    "KINDS",
    "MARK_PICTURES",
    "SOURCES",
    "BatchPlan",
    "Dataset",
    "Encoded",
    "Encoding",
    "FolderListing",
    "ImageQuality",
    "Original",
    "Pair",
    "PhotoColour",
    "Splits",
    "StreamedDataset",
    "StreamedImages",
    "UserImages",
    "UserPartition",
    "UserSpec",
    "assign_users",
    "channel_statistics",
    "chunks",
    "colour_differences",
    "colour_of",
    "contact_sheet",
    "encode",
    "image_quality",
    "jpeg_of",
    "list_folder",
    "list_photos",
    "load",
    "mark_picture",
    "padded_rows",
    "permutation",
    "png_of",
    "prefetch",
    "read_original",
    "read_photo",
    "thumbnail",
    "training_set",
]
