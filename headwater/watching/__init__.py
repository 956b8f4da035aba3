"""What somebody who watches sees of products, logs and the disk, as numbers with names. See docs/operations.md."""

from headwater.watching._disk import read_disk
from headwater.watching._products import MALFORMED, ProductReader
from headwater.watching._samples import CATALOGUE, Sample, UnknownSampleError, exposition

__all__ = ["CATALOGUE", "MALFORMED", "ProductReader", "Sample", "UnknownSampleError", "exposition", "read_disk"]
