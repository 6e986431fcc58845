"""Bytes ↔ pixels, the one resize, `Preprocess`, the perceptual hash. numpy, Pillow and simplejpeg; no torch."""

from deeper.images.appearance import Appearance as Appearance
from deeper.images.arrays import as_picture as as_picture
from deeper.images.arrays import encode_png as encode_png
from deeper.images.decode import MAX_PIXELS as MAX_PIXELS
from deeper.images.decode import Probe as Probe
from deeper.images.decode import check as check
from deeper.images.decode import decode as decode
from deeper.images.decode import is_kept as is_kept
from deeper.images.decode import probe as probe
from deeper.images.decode import refuse_huge as refuse_huge
from deeper.images.decode import to_channels as to_channels
from deeper.images.decode import unpacked_pixels as unpacked_pixels
from deeper.images.perceptual_hash import hamming as hamming
from deeper.images.perceptual_hash import perceptual_hash as perceptual_hash
from deeper.images.preprocess import Preprocess as Preprocess
